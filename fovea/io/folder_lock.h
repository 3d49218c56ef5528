#pragma once
#include <filesystem>
#include <string>

namespace fovea::io {

/// A folder for one process at a time, as long as this stands: a lock on its file `.lock`, which holds the
/// process's number for the message that the next one gets. It ends with the process, however that ends.
/// Throws fovea::Error of `where`: (usage) when another process holds it, (other) when it cannot be written.
class FolderLock {
 public:
  static constexpr const char* kFile = ".lock";

  FolderLock(const std::filesystem::path& folder, const std::string& where);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace fovea::io
