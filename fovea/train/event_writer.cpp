#include "fovea/train/event_writer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>

#include "fovea/train/event_record.h"

namespace fovea::train {
namespace {

// Field numbers of tensorboard/compat/proto/event.proto and summary.proto.
namespace event {
enum { wall_time = 1, step = 2, file_version = 3, summary = 5, session_log = 7 };
}
namespace session_log {
enum { status = 1 };
constexpr int64_t start = 1;
}  // namespace session_log
namespace summary {
enum { value = 1 };
}
namespace value {
enum { tag = 1, simple_value = 2, image = 4 };
}
namespace image {
enum { height = 1, width = 2, colorspace = 3, encoded = 4 };
}

constexpr std::string_view kPrefix = "events.out.tfevents.";

double system_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// The TIME part of a file's name; -1 for other files.
int64_t stamp_of(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  if (!name.starts_with(kPrefix)) return -1;
  int64_t stamp = -1;
  std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), stamp);
  return stamp;
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  return name.data();
}

std::filesystem::path new_path(const std::filesystem::path& folder, double now) {
  std::error_code ignored;  // opening the file says what is wrong
  std::filesystem::create_directories(folder, ignored);
  auto stamp = static_cast<int64_t>(now);
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    stamp = std::max(stamp, stamp_of(entry.path()) + 1);
  }
  static std::atomic<int> number{0};
  return folder / fmt::format("{}{:010}.{}.{}.{}", kPrefix, stamp, host_name(), ::getpid(), number++);
}

ProtoMessage begin_event(double wall_time, int64_t step) {
  ProtoMessage message;
  message.float64(event::wall_time, wall_time);
  if (step != 0) message.integer(event::step, step);
  return message;
}

std::string with_value(ProtoMessage message, const ProtoMessage& value) {
  return message.bytes(event::summary, ProtoMessage().bytes(summary::value, value.text()).text()).text();
}

}  // namespace

EventWriter::EventWriter(const std::filesystem::path& folder, const EventWriterOptions& options)
    : clock_(options.clock ? options.clock : system_seconds),
      file_(new_path(folder, clock_()), /*must_be_new=*/true) {
  const double now = clock_();
  write(begin_event(now, 0).bytes(event::file_version, "brain.Event:2").text());
  if (options.resume_step) {
    // A start at step s makes TensorBoard drop what it has read of step s and later.
    const ProtoMessage start = ProtoMessage().integer(session_log::status, session_log::start);
    write(begin_event(now, *options.resume_step + 1).bytes(event::session_log, start.text()).text());
  }
}

void EventWriter::scalar(std::string_view tag, double number, int64_t step) {
  ProtoMessage value;
  value.bytes(value::tag, tag).float32(value::simple_value, static_cast<float>(number));
  write(with_value(begin_event(clock_(), step), value));
}

void EventWriter::image(std::string_view tag, const EventImage& picture, int64_t step) {
  ProtoMessage content;
  content.integer(image::height, picture.height)
      .integer(image::width, picture.width)
      .integer(image::colorspace, picture.channels)
      .bytes(image::encoded, picture.png);
  write(with_value(begin_event(clock_(), step),
                   ProtoMessage().bytes(value::tag, tag).bytes(value::image, content.text())));
}

void EventWriter::write(std::string_view event) { file_.append(tf_record(event)); }

}  // namespace fovea::train
