#include "fovea/train/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace fovea::train {
namespace {

std::string steps_text(const Progress& progress) {
  return progress.total > 0 ? fmt::format("{}/{}", progress.step, progress.total)
                            : fmt::format("{}", progress.step);
}

// What is known, most important first. fmt's plain formats ignore the locale.
std::vector<std::string> fields(const Progress& progress) {
  std::vector<std::string> texts;
  if (!std::isnan(progress.loss)) texts.push_back(fmt::format("loss {:.4f}", progress.loss));
  if (!std::isnan(progress.accuracy)) texts.push_back(fmt::format("acc {:.2f}%", progress.accuracy));
  if (!std::isnan(progress.samples_per_second)) {
    const int digits = progress.samples_per_second < 10 ? 2 : 0;
    texts.push_back(fmt::format("{:.{}f} samples/s", progress.samples_per_second, digits));
  }
  if (progress.total > 0) texts.push_back(format_duration(progress.seconds_left) + " left");
  return texts;
}

double done_share(const Progress& progress) {
  return std::clamp(static_cast<double>(progress.step) / static_cast<double>(progress.total), 0.0, 1.0);
}

std::string bar(double share, int cells) {
  const int full = static_cast<int>(share * cells);
  std::string text(cells, ' ');
  std::fill_n(text.begin(), full, '=');
  if (full > 0 && full < cells) text[full - 1] = '>';
  return "[" + text + "]";
}

}  // namespace

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "-:--:--";
  const auto whole = std::llround(seconds);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string terminal_line(const Progress& progress, int width) {
  const size_t room = std::max(0, width);
  std::string head =
      progress.total > 0 ? fmt::format("{:3.0f}% ", std::floor(100 * done_share(progress))) : "";
  std::string tail = steps_text(progress);
  for (const std::string& field : fields(progress)) {
    if (head.size() + tail.size() + 2 + field.size() > room) break;
    tail += "  " + field;
  }
  // A bar under 5 cells tells less than the percentage.
  const int cells = std::min(30, static_cast<int>(room) - static_cast<int>(head.size() + tail.size()) - 3);
  if (progress.total > 0 && cells >= 5) head += bar(done_share(progress), cells) + " ";
  return (head + tail).substr(0, room);
}

std::string plain_line(const Progress& progress) {
  std::string line = "step " + steps_text(progress);
  for (const std::string& field : fields(progress)) line += "  " + field;
  return line;
}

}  // namespace fovea::train
