#include "fovea/io/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <random>
#include <system_error>
#include <utility>

namespace fovea::io {
namespace {

constexpr std::string_view kTemporaryPrefix = ".fovea-tmp-";
constexpr size_t kChunk = size_t{1} << 20;

std::string_view remedy(int code) {
  switch (code) {
    case ENOENT:
      return "Check the path.";
    case EACCES:
    case EPERM:
      return "Check the permissions of the file and its folder.";
    case ENOSPC:
    case EDQUOT:
      return "Free some space, or choose another disk.";
    case EFBIG:
      return "Raise the limit on file sizes (ulimit -f), or choose another disk.";
    case EROFS:
      return "Choose a folder that can be written to.";
    case EISDIR:
      return "Name a file, not a folder.";
    case EIO:
      return "The disk reports a failure; check it and try again.";
    default:
      return "Check the path and the disk.";
  }
}

Error system_error(ErrorKind kind, const std::filesystem::path& path, std::string_view rule, int code) {
  return {kind, path.string(),
          fmt::format("{}; found: {}. {}", rule, std::generic_category().message(code), remedy(code))};
}

// Closes on the way out, whatever happens.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }
  int release() { return std::exchange(value_, -1); }

 private:
  int value_;
};

int open_for_reading(const std::filesystem::path& path, ErrorKind kind, struct stat& status, int flags = 0) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags));
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0) {
    throw system_error(kind, path, "the file must be readable", errno);
  }
  if (S_ISDIR(status.st_mode)) throw system_error(kind, path, "the file must be readable", EISDIR);
  return file.release();
}

std::string temporary_name() {
  std::random_device random;
  return fmt::format("{}{}-{:08x}{:08x}", kTemporaryPrefix, ::getpid(), random(), random());
}

}  // namespace

std::string read_file(const std::filesystem::path& path, uint64_t limit_bytes, ErrorKind kind) {
  struct stat status {};
  const Descriptor file(open_for_reading(path, kind, status));
  const auto require_within = [&](uint64_t size) {
    if (size <= limit_bytes) return;
    throw Error(kind, path.string(),
                fmt::format("the file must have at most {} bytes; found {}{}. Name a smaller file.",
                            limit_bytes, S_ISREG(status.st_mode) ? "" : "at least ", size));
  };
  const uint64_t expected = S_ISREG(status.st_mode) ? static_cast<uint64_t>(status.st_size) : 0;
  require_within(expected);
  // One byte more than expected, so that the end is seen without a second round. /proc and pipes tell no
  // size.
  std::string content;
  size_t used = 0;
  for (;;) {
    content.resize(used == 0 ? expected + 1 : used + kChunk);
    const ssize_t got = ::read(file.get(), content.data() + used, content.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw system_error(kind, path, "the file must be readable", errno);
    if (got == 0) break;
    used += static_cast<size_t>(got);
    require_within(used);
  }
  content.resize(used);
  return content;
}

void write_atomically(const std::filesystem::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void write_all(int descriptor, std::span<const std::byte> bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(descriptor, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) {
      throw system_error(ErrorKind::other, path, "the file must be writable to its end",
                         put < 0 ? errno : EIO);
    }
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
}

AtomicFile::AtomicFile(const std::filesystem::path& path) : path_(path) {
  std::error_code error;
  if (std::filesystem::is_symlink(path, error)) {
    std::filesystem::path target = std::filesystem::canonical(path, error);
    if (!error) path_ = std::move(target);
  }
  struct stat old {};
  const bool replaces = ::stat(path_.c_str(), &old) == 0;
  if (replaces && !S_ISREG(old.st_mode)) {
    // Renaming over /dev/null, as root, would replace the device.
    throw Error(ErrorKind::other, path.string(),
                "an output must be a regular file; found a folder, device or pipe of this name. Choose "
                "another name.");
  }
  const std::filesystem::path directory = path_.parent_path();
  do {
    temporary_ = directory / temporary_name();
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (descriptor_ < 0 && (errno == EEXIST || errno == EINTR));
  if (descriptor_ < 0) throw system_error(ErrorKind::other, path_, "its folder must accept new files", errno);
  if (replaces) ::fchmod(descriptor_, old.st_mode & 07777);
}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::discard() noexcept {
  if (descriptor_ < 0) return;
  ::close(std::exchange(descriptor_, -1));
  ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  if (descriptor_ < 0)
    throw Error(ErrorKind::other, path_.string(), "the file is closed already. Open it anew.");
  try {
    write_all(descriptor_, bytes, path_);
  } catch (...) {
    discard();
    throw;
  }
}

void AtomicFile::commit() {
  if (descriptor_ < 0)
    throw Error(ErrorKind::other, path_.string(), "the file is closed already. Open it anew.");
  if (::fsync(descriptor_) != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int code = errno;
    discard();
    throw system_error(ErrorKind::other, path_, "the file must reach the disk", code);
  }
  // What close() may still report was reported by fsync().
  ::close(std::exchange(descriptor_, -1));
  sync_directory(path_.parent_path());
}

bool is_temporary_name(std::string_view file_name) {
  if (!file_name.starts_with(kTemporaryPrefix)) return false;
  file_name.remove_prefix(kTemporaryPrefix.size());
  const size_t dash = file_name.find('-');
  const auto all_in = [](std::string_view text, std::string_view allowed) {
    return text.find_first_not_of(allowed) == std::string_view::npos;
  };
  return dash != std::string_view::npos && dash > 0 && all_in(file_name.substr(0, dash), "0123456789") &&
         file_name.size() == dash + 17 && all_in(file_name.substr(dash + 1), "0123456789abcdef");
}

void sync_directory(const std::filesystem::path& directory) {
  const std::filesystem::path named = directory.empty() ? "." : directory;
  const Descriptor folder(::open(named.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const bool done = folder.get() >= 0 && ::fsync(folder.get()) == 0;
  if (!done && errno != EINVAL && errno != ENOTSUP) {
    throw system_error(ErrorKind::other, named, "the folder's entries must reach the disk", errno);
  }
}

MappedFile::MappedFile(const std::filesystem::path& path, ErrorKind kind) : path_(path), kind_(kind) {
  struct stat status {};
  // Opening a pipe would otherwise wait for its writer.
  Descriptor file(open_for_reading(path, kind, status, O_NONBLOCK));
  if (!S_ISREG(status.st_mode)) {
    throw Error(kind, path.string(),
                "only a regular file can be mapped; found a device or pipe. Copy it to a file.");
  }
  const auto size = static_cast<size_t>(status.st_size);
  if (size > 0) {
    void* start = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (start == MAP_FAILED) throw system_error(kind, path, "the file must be readable as memory", errno);
    bytes_ = {static_cast<const std::byte*>(start), size};
  }
  descriptor_ = file.release();
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  ::close(descriptor_);
}

void MappedFile::require_unchanged() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) == 0 && static_cast<uint64_t>(status.st_size) >= bytes_.size()) return;
  throw Error(
      kind_, path_.string(),
      fmt::format("the file must not shrink while it is read; found {} of {} bytes left. Replace files by "
                  "renaming a complete one.",
                  status.st_size, bytes_.size()));
}

}  // namespace fovea::io
