#include "fovea/io/folder_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "fovea/core/error.h"

namespace fovea::io {
namespace {

Error no_lock(const std::filesystem::path& file, const std::string& where, int code) {
  return Error(ErrorKind::other, where,
               fmt::format("{} cannot be written: {}. Choose another folder.", file.string(),
                           std::generic_category().message(code)));
}

}  // namespace

FolderLock::FolderLock(const std::filesystem::path& folder, const std::string& where) {
  const std::filesystem::path file = folder / kFile;
  descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0) throw no_lock(file, where, errno);
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    const int code = errno;
    char holder[32] = {};
    const ssize_t length = ::read(descriptor_, holder, sizeof holder - 1);
    ::close(descriptor_);
    if (code != EWOULDBLOCK) throw no_lock(file, where, code);
    throw usage_error(where, fmt::format("one process at a time may train into a folder; {} is in use by "
                                         "process {}. Wait for it, or choose another folder.",
                                         folder.string(), length > 0 ? holder : "?"));
  }
  const std::string number = std::to_string(::getpid());
  // Only for a message: a full disk is no reason to refuse here.
  if (::ftruncate(descriptor_, 0) == 0 && ::write(descriptor_, number.data(), number.size()) < 0) errno = 0;
}

FolderLock::~FolderLock() { ::close(descriptor_); }

}  // namespace fovea::io
