#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "fovea/data/dataset.h"

namespace fovea::data {

/// Images in files, read when they are asked for.
class FolderDataset : public Dataset {
 public:
  struct File {
    std::filesystem::path path;
    int64_t label = 0;
  };

  /// channels: 1 = grey, 3 = colour; images are turned into it as Pillow's convert("L"), convert("RGB") does.
  FolderDataset(std::vector<File> files, std::vector<std::string> class_names, int64_t channels);

  int64_t size() const override { return static_cast<int64_t>(files_.size()); }
  Sample get(int64_t index) const override;
  int64_t label(int64_t index) const override;
  const std::vector<std::string>& class_names() const override { return class_names_; }
  /// H = W = 0: sizes are known only by reading.
  std::array<int64_t, 3> image_shape() const override { return {channels_, 0, 0}; }
  std::string describe(int64_t index) const override;

 private:
  std::vector<File> files_;
  std::vector<std::string> class_names_;
  int64_t channels_;
};

/// A folder with one folder of images a class: FOLDER/class/**/file, or such folders named `train`, `val` and
/// `test` in it. Labels number the class names of the training part, sorted by bytes.
/// Files are those that end in .jpg, .jpeg, .png or, under any other name, start as a JPEG or PNG does;
/// hidden ones are skipped, links to folders are followed once. Nothing is decoded here. Throws Error (data)
/// naming the path: missing folder, no class, a class without an image, an image of a kind that is not read,
/// a class of `val` or `test` that `train` lacks, a
/// class whose name is not UTF-8. Source: the layout of torchvision.datasets.ImageFolder.
Splits open_folder(const std::filesystem::path& folder, int64_t channels = 3);

}  // namespace fovea::data
