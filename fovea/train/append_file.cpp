#include "fovea/train/append_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "fovea/core/error.h"
#include "fovea/io/file.h"

namespace fovea::train {
namespace {

Error system_error(const std::filesystem::path& path) {
  return {ErrorKind::other, "log",
          fmt::format("{} must be writable; found: {}. Check the folder's rights and the free space.",
                      path.string(), std::strerror(errno))};
}

}  // namespace

AppendFile::AppendFile(const std::filesystem::path& path, bool must_be_new) : path_(path) {
  const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (must_be_new ? O_EXCL : 0);
  descriptor_ = ::open(path.c_str(), flags, 0666);
  if (descriptor_ < 0) throw system_error(path);
}

AppendFile::~AppendFile() { ::close(descriptor_); }

void AppendFile::append(std::string_view record) {
  struct stat before {};
  if (::fstat(descriptor_, &before) != 0) throw system_error(path_);
  try {
    io::write_all(descriptor_, io::as_bytes(record), path_);
  } catch (const Error&) {
    // A part of a record would spoil the next one.
    if (::ftruncate(descriptor_, before.st_size) != 0) throw system_error(path_);
    throw;
  }
}

void AppendFile::sync() {
  if (::fsync(descriptor_) != 0) throw system_error(path_);
}

}  // namespace fovea::train
