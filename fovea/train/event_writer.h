#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "fovea/train/append_file.h"

namespace fovea::train {

struct EventWriterOptions {
  /// The step that a resumed run continues after: TensorBoard drops what earlier files say of later steps.
  std::optional<int64_t> resume_step;
  /// Seconds since 1970; the system's clock by default.
  std::function<double()> clock;
};

/// Where an image summary's bytes belong. Sizes in pixels; channels 1 (grey), 3 (RGB), 4 (RGBA).
struct EventImage {
  int64_t height = 0, width = 0, channels = 3;
  std::string_view png;  ///< an encoded PNG
};

/// Writes what TensorBoard shows: a file events.out.tfevents.TIME.HOST.PID.NUMBER of TFRecords
/// (length, masked CRC32C, protobuf Event, masked CRC32C; little endian) that begins with the version record.
///
/// Each writer makes a new file, whose TIME is later than that of every other in the folder, because
/// TensorBoard reads them in the order of their names. Records reach the system at once: a killed process
/// loses none.
class EventWriter {
 public:
  /// Creates the folder when it is missing. Throws Error (other) when the file cannot be written.
  explicit EventWriter(const std::filesystem::path& folder, const EventWriterOptions& options = {});

  /// One point of the curve `tag` ("train/loss"). NaN and infinities are kept. Stored as float, as
  /// TensorBoard does.
  void scalar(std::string_view tag, double value, int64_t step);

  /// One picture of the series `tag`.
  void image(std::string_view tag, const EventImage& image, int64_t step);

  /// Flushes to the disk.
  void sync() { file_.sync(); }

  const std::filesystem::path& path() const { return file_.path(); }

 private:
  void write(std::string_view event);  // a serialised Event

  std::function<double()> clock_;
  AppendFile file_;
};

}  // namespace fovea::train
