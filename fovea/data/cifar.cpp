#include "fovea/data/cifar.h"

#include <ATen/ops/from_blob.h>
#include <fmt/format.h>

#include <cstring>

#include "fovea/core/error.h"
#include "fovea/data/class_names.h"
#include "fovea/data/tensor_dataset.h"
#include "fovea/io/file.h"

namespace fovea::data {
namespace {

namespace fs = std::filesystem;

constexpr size_t kImageBytes = 3 * 32 * 32;
// The real files have 31 to 185 MB.
constexpr uint64_t kLargestCifar = uint64_t{1} << 30;

// How a record is laid out: `labels` bytes, of which number `used` is the class, then the image.
struct Layout {
  size_t labels = 1, used = 0;
  const std::vector<std::string>* names = nullptr;
};

struct Records {
  std::vector<uint8_t> pixels;
  std::vector<int64_t> labels;
};

void append_file(const fs::path& path, const Layout& layout, Records& records) {
  const std::string file = io::read_file(path, kLargestCifar);
  const size_t record = layout.labels + kImageBytes;
  if (file.empty() || file.size() % record != 0) {
    throw data_error("cifar",
                     fmt::format("{}: the file must be whole records of {} bytes; found {} bytes. It is "
                                 "damaged, get it again.",
                                 path.string(), record, file.size()));
  }
  const size_t count = file.size() / record, before = records.pixels.size();
  records.pixels.resize(before + count * kImageBytes);
  for (size_t i = 0; i < count; ++i) {
    const char* at = file.data() + i * record;
    const int64_t label = static_cast<uint8_t>(at[layout.used]);
    if (label >= static_cast<int64_t>(layout.names->size())) {
      throw data_error("cifar", fmt::format("{}: labels must be in [0, {}); found {} in record {}.",
                                            path.string(), layout.names->size(), label, i));
    }
    records.labels.push_back(label);
    std::memcpy(records.pixels.data() + before + i * kImageBytes, at + layout.labels, kImageBytes);
  }
}

std::shared_ptr<const Dataset> open_files(const std::vector<fs::path>& paths, const Layout& layout) {
  auto records = std::make_shared<Records>();
  for (const auto& path : paths) append_file(path, layout, *records);
  const auto count = static_cast<int64_t>(records->labels.size());
  // The tensor is the records' own memory, kept alive by the deleter.
  auto images = at::from_blob(
      records->pixels.data(), {count, 3, 32, 32}, [records](void*) {}, at::TensorOptions(at::kByte));
  return std::make_shared<TensorDataset>(images, std::move(records->labels), *layout.names,
                                         paths.front().parent_path().string());
}

// The folder itself or the one that the archive unpacks to, whichever holds `file`.
fs::path find_folder(const fs::path& folder, const char* below, const char* file) {
  std::error_code ignored;
  for (const auto& candidate : {folder, folder / below}) {
    if (fs::is_regular_file(candidate / file, ignored)) return candidate;
  }
  throw data_error("data",
                   fmt::format("{} must hold {} (or a folder {} that does); found neither. Get the binary "
                               "version from www.cs.toronto.edu/~kriz/cifar.html and give its folder.",
                               folder.string(), file, below));
}

}  // namespace

Splits open_cifar10(const fs::path& folder) {
  const Layout layout{1, 0, &cifar10_classes()};
  const fs::path found = find_folder(folder, "cifar-10-batches-bin", "data_batch_1.bin");
  std::vector<fs::path> train;
  for (int i = 1; i <= 5; ++i) train.push_back(found / fmt::format("data_batch_{}.bin", i));
  return {open_files(train, layout), nullptr, open_files({found / "test_batch.bin"}, layout)};
}

Splits open_cifar100(const fs::path& folder, CifarLabels labels) {
  const bool fine = labels == CifarLabels::fine;
  const Layout layout{2, fine ? size_t{1} : size_t{0}, fine ? &cifar100_classes() : &cifar100_superclasses()};
  const fs::path found = find_folder(folder, "cifar-100-binary", "train.bin");
  return {open_files({found / "train.bin"}, layout), nullptr, open_files({found / "test.bin"}, layout)};
}

}  // namespace fovea::data
