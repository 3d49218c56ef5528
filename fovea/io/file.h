#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "fovea/core/error.h"

namespace fovea::io {

/// The bytes of a text.
inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

inline constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

/// The whole content of a file or pipe. Throws an error of `kind` (path, the system's reason, remedy) if it
/// cannot be read or is longer than `limit_bytes`, which is found out before memory for more is taken.
std::string read_file(const std::filesystem::path& path, uint64_t limit_bytes = kNoLimit,
                      ErrorKind kind = ErrorKind::data);

/// Replaces the file `path` by `bytes`, whole or not at all: AtomicFile's write() and commit().
void write_atomically(const std::filesystem::path& path, std::string_view bytes);

/// A file that appears under its name only when it is complete and on the disk.
///
/// Bytes go to a temporary file beside it (see is_temporary_name); commit() flushes that to the disk, renames
/// it and flushes the directory. Without commit(), on an error or when the process is killed, whatever was
/// under the name stays as it was; at most a temporary file is left behind by a kill. A symbolic link is
/// followed, so that its target is replaced. Not for several threads at once. Throws Error (other) with path,
/// the system's reason and remedy; the temporary file is then removed already. A process under RLIMIT_FSIZE
/// gets that error only if it ignores SIGXFSZ, whose default is to kill.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(as_bytes(text)); }
  void commit();

 private:
  void discard() noexcept;

  std::filesystem::path path_, temporary_;
  int descriptor_ = -1;
};

/// Whether a file name (without folder) is one of AtomicFile's temporary names, `.fovea-tmp-<process>-<16 hex
/// digits>`: a left-over, if that process no longer runs.
bool is_temporary_name(std::string_view file_name);

/// Waits until renames and new names in `directory` are on the disk. File systems that cannot do this are let
/// pass.
void sync_directory(const std::filesystem::path& directory);

/// Writes all of `bytes` to an open descriptor; `path` is for the message of the Error (other).
void write_all(int descriptor, std::span<const std::byte> bytes, const std::filesystem::path& path);

/// A whole file as read-only memory, read from the disk as it is touched.
///
/// If another process shortens the file meanwhile, touching the lost part kills this one (SIGBUS): call
/// require_unchanged() before reading much. Throws an error of `kind` if it is no regular file or cannot be
/// mapped.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path, ErrorKind kind = ErrorKind::data);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }

  /// Throws an error of the constructor's kind if the file is now shorter than what was mapped.
  void require_unchanged() const;

 private:
  std::filesystem::path path_;
  ErrorKind kind_;
  int descriptor_ = -1;
  std::span<const std::byte> bytes_;
};

}  // namespace fovea::io
