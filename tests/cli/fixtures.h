#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "program.h"

namespace fovea::cli_test {

/// A folder of its own for a test, removed at its end.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::string& name = "work");
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path root_, path_;
};

std::string read_text(const std::filesystem::path& file);
void write_text(const std::filesystem::path& file, const std::string& bytes);

/// A PNG of one colour pattern per `kind`, 3 channels or 1.
void write_picture(const std::filesystem::path& file, int kind, int64_t side, int64_t channels = 3);

/// The four IDX files of a small MNIST: ten classes, 28 x 28, `train` and `test` images that a network can
/// tell apart.
void write_idx(const std::filesystem::path& folder, int64_t train = 60, int64_t test = 20);

/// A folder of images, two classes (`stripes`, `squares`), `each` images a class.
void write_image_folder(const std::filesystem::path& folder, int each = 8);

/// A float tensor for write_tensors(), or one of the integers, where there are any.
struct FloatTensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
  std::vector<int64_t> integers = {};
};

/// A .safetensors file, written from the format's definition.
void write_tensors(const std::filesystem::path& file, const std::map<std::string, FloatTensor>& tensors);
std::map<std::string, FloatTensor> read_tensors(const std::filesystem::path& file);

/// The words of a tiny training on write_idx(data) into `run`, with `more` at the end.
std::vector<std::string> training(const std::filesystem::path& data, const std::filesystem::path& run,
                                  const std::vector<std::string>& more = {});

/// Two steps of it, done; fails the test if they are not.
void train_tiny(const std::filesystem::path& data, const std::filesystem::path& run);

}  // namespace fovea::cli_test
