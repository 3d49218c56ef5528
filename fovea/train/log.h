#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <vector>

#include "fovea/train/append_file.h"

namespace fovea::train {

/// The log of a run, metrics.jsonl: one JSON object a line, each with an integer "step".
///
/// JSON has no NaN and no infinity: they are written as the strings "NaN", "Infinity", "-Infinity" (as
/// protobuf's JSON does; Python's float() and JavaScript's Number() read them), and read_log gives numbers
/// back. A line is there once its newline is; what a crash left after the last newline is dropped on opening.
class MetricsLog {
 public:
  /// Opens `path` for appending, creating it. With `resume_step`, lines of a later step are removed first
  /// (atomically). Throws Error: data for a line that is no such object, other when the file cannot be
  /// written.
  explicit MetricsLog(const std::filesystem::path& path, std::optional<int64_t> resume_step = std::nullopt);

  /// Appends one line by one system call: it survives the end of this process from here on.
  /// Throws Error: usage without an integer "step", other when the disk is full (the log is then as before).
  void write(const nlohmann::ordered_json& record);

  /// Flushes to the disk, so that the log also survives the end of the machine.
  void sync() { file_.sync(); }

 private:
  AppendFile file_;
};

/// All lines of a log, in order; an unfinished last line is left out. Throws Error (data) with the line's
/// number for a missing file or a damaged line.
std::vector<nlohmann::ordered_json> read_log(const std::filesystem::path& path);

}  // namespace fovea::train
