#pragma once
#include <filesystem>
#include <string_view>

namespace fovea::train {

/// A file that only grows, by whole records: what logs are written to.
/// Throws Error (other) with path, the system's reason and remedy.
class AppendFile {
 public:
  /// Opens `path`, creating it unless it is there; with `must_be_new` it must not be.
  explicit AppendFile(const std::filesystem::path& path, bool must_be_new = false);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  /// Hands the record to the system: it survives the end of this process. When the disk is full, the file is
  /// as before.
  void append(std::string_view record);

  /// Flushes to the disk: what was appended survives the end of the machine.
  void sync();

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace fovea::train
