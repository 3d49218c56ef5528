#pragma once
#include <filesystem>
#include <string>

#include "fovea/io/image.h"

namespace fovea::cli {

/// The folder of a page and its pictures. The file `.fovea-pictures` in it lists the pictures, so that the
/// next page there does not stand beside those of the last one.
class PictureFolder {
 public:
  /// Makes the folder, and removes the page and the pictures that an earlier PictureFolder listed; nothing
  /// else is touched. Throws Error (other).
  explicit PictureFolder(std::filesystem::path folder);

  std::filesystem::path page() const { return folder_ / "index.html"; }

  /// Writes a picture under `name` and returns its path.
  std::filesystem::path add(const std::string& name, const io::Image& picture);

 private:
  std::filesystem::path folder_;
  std::string names_;
};

}  // namespace fovea::cli
