// Data sets once they are open: names, splits, sizes, statistics.
#include "fovea/data/dataset.h"

#include <fmt/format.h>

#include <cmath>
#include <numeric>
#include <set>

#include "fovea/data/folder.h"
#include "fovea/data/loader.h"
#include "fovea/data/open.h"
#include "fovea/data/statistics.h"
#include "fovea/data/subset.h"
#include "tests/data/small_files.h"
#include "tests/support/errors.h"

namespace fovea::data {
namespace {

namespace fs = std::filesystem;

DataOptions named(const std::string& name) {
  DataOptions options;
  options.name = name;
  return options;
}

TEST(OpenData, MissingFilesSayWhatToInstall) {
  const TestFolder folder;
  const std::string path = folder.path().string();
  expect_error(ErrorKind::data, {path, "train-images-idx3-ubyte.gz", "found neither", "fashion_mnist:PATH"},
               [&] { open_data(named("fashion_mnist:" + path)); });
  if (!fs::exists("/usr/share/datasets/fashion-mnist")) {
    expect_error(ErrorKind::data, {"Install the Debian package dataset-fashion-mnist"},
                 [&] { open_data(named("fashion_mnist")); });
  }
  expect_error(ErrorKind::data, {path, "data_batch_1.bin", "cs.toronto.edu"},
               [&] { open_data(named("cifar10:" + path)); });
  expect_error(ErrorKind::data, {path, "train.bin"}, [&] { open_data(named("cifar100:" + path)); });
  expect_error(ErrorKind::data, {path + "/none", "nothing there"},
               [&] { open_data(named("folder:" + path + "/none")); });
  expect_error(ErrorKind::data, {path, "found no folder"}, [&] { open_data(named("folder:" + path)); });
}

TEST(OpenData, ATruncatedGzipIsNamed) {
  const TestFolder folder;
  write_small_mnist(folder);
  const auto path = folder.path() / "train-images-idx3-ubyte.gz";
  fs::resize_file(path, fs::file_size(path) / 2);
  expect_error(ErrorKind::data, {path.string()},
               [&] { open_data(named("mnist:" + folder.path().string())); });
}

TEST(OpenData, UnknownNamesAreAnsweredWithTheNearest) {
  expect_error(ErrorKind::usage, {"'fashion_minst'", "Did you mean 'fashion_mnist'?"},
               [] { open_data(named("fashion_minst")); });
  expect_error(ErrorKind::usage, {"'x'", "Known are fashion_mnist, mnist"}, [] { open_data(named("x")); });
  expect_error(ErrorKind::usage, {"mnist:PATH"}, [] { open_data(named("mnist")); });
  expect_error(ErrorKind::usage, {"wants a path"}, [] { open_data(named("fashion_mnist:")); });
  for (const auto& entry : data_entries()) EXPECT_FALSE(entry.description.empty());
  auto options = named("fashion_mnist");
  options.val_fraction = 1;
  expect_error(ErrorKind::usage, {"val_fraction must be in [0, 1)"}, [&] { open_data(options); });
  options = named("fashion_mnist");
  options.channels = 4;
  expect_error(ErrorKind::usage, {"channels must be 0, 1 or 3; found 4"}, [&] { open_data(options); });
}

TEST(OpenData, TheSplitIsStratifiedBySeedAndLeavesTheTestPartAlone) {
  const TestFolder folder;
  write_small_mnist(folder);
  auto options = named("mnist:" + folder.path().string());
  options.val_fraction = 0.25;
  const Splits a = open_data(options);
  EXPECT_EQ(class_counts(*a.train), std::vector<int64_t>(10, 9));
  EXPECT_EQ(class_counts(*a.val), std::vector<int64_t>(10, 3));
  EXPECT_EQ(a.test->size(), 20);
  const auto indices = [](const std::shared_ptr<const Dataset>& set) {
    return dynamic_cast<const Subset&>(*set).indices();
  };
  std::set<int64_t> both;
  for (const auto& part : {indices(a.train), indices(a.val)}) both.insert(part.begin(), part.end());
  EXPECT_EQ(both.size(), 120u);
  EXPECT_EQ(indices(open_data(options).val), indices(a.val));
  options.split_seed = 1;
  EXPECT_NE(indices(open_data(options).val), indices(a.val));
  options.limit = 20;
  const Splits limited = open_data(options);
  EXPECT_EQ(class_counts(*limited.train), std::vector<int64_t>(10, 2));
  EXPECT_EQ(limited.val->size(), 30);
  options.val_fraction = 0.001;
  expect_error(ErrorKind::data, {"leaves one part empty"}, [&] { open_data(options); });
}

TEST(ChooseStratified, RoundsSharesSoThatTheyAddUp) {
  // Classes of 50, 33 and 17: a tenth of each is 5, 3.3, 1.7.
  std::vector<int64_t> labels(50, 0);
  labels.insert(labels.end(), 33, 1);
  labels.insert(labels.end(), 17, 2);
  const TensorDataset set(noise(1, 100, 1).view({100, 1, 1, 1}), labels, {"a", "b", "c"}, "set");
  const auto counts = [&](int64_t n) {
    std::vector<int64_t> result(3);
    for (const int64_t i : choose_stratified(set, n, 4).chosen) ++result[set.label(i)];
    return result;
  };
  EXPECT_EQ(counts(10), (std::vector<int64_t>{5, 3, 2}));
  EXPECT_EQ(counts(0), (std::vector<int64_t>{0, 0, 0}));
  EXPECT_EQ(counts(100), (std::vector<int64_t>{50, 33, 17}));
  expect_error(ErrorKind::usage, {"in [0, 100]; found 101"}, [&] { choose_stratified(set, 101, 0); });
}

TEST(OpenData, FashionMnistOfTheDebianPackage) {
  if (!fs::exists("/usr/share/datasets/fashion-mnist"))
    GTEST_SKIP() << "dataset-fashion-mnist is not installed";
  const Splits splits = open_data(named("fashion_mnist"));
  EXPECT_EQ(splits.train->size(), 55000);
  EXPECT_EQ(splits.test->size(), 10000);
  EXPECT_EQ(class_counts(*splits.val), std::vector<int64_t>(10, 500));
  EXPECT_EQ(class_counts(*splits.test), std::vector<int64_t>(10, 1000));
  EXPECT_EQ(splits.test->class_names()[9], "Ankle boot");
  EXPECT_EQ(splits.test->label(0), 9);
  // The known statistics of all 60,000 are 0.2860 and 0.3530.
  const auto statistics = compute_statistics(*splits.train);
  EXPECT_NEAR(statistics.mean[0], 0.2860, 5e-4);
  EXPECT_NEAR(statistics.std[0], 0.3530, 5e-4);
}

TEST(OpenData, ImagesAreResizedAndRecoloured) {
  const TestFolder folder;
  for (int i = 0; i < 6; ++i) folder.write(fmt::format("a/{}.png", i), png(i % 2 ? 1 : 3, 20 + i, 30 - i, i));
  auto options = named("folder:" + folder.path().string());
  options.val_fraction = 0.5;
  options.img_size = 16;
  Splits splits = open_data(options);
  EXPECT_EQ(splits.train->image_shape(), (std::array<int64_t, 3>{3, 16, 16}));
  EXPECT_EQ(splits.val->get(0).image.sizes().vec(), (std::vector<int64_t>{3, 16, 16}));
  LoaderOptions loading;
  loading.batch_size = 3;
  EXPECT_EQ(Loader(splits.train, loading).next()->images.sizes().vec(), (std::vector<int64_t>{3, 3, 16, 16}));
  options.resize_train = false;
  splits = open_data(options);
  EXPECT_EQ(splits.train->image_shape(), (std::array<int64_t, 3>{3, 0, 0}));
  expect_error(ErrorKind::data, {folder.path().string(), "one shape"},
               [&] { Loader(splits.train, loading).next(); });
  options.channels = 1;
  EXPECT_EQ(open_data(options).val->get(0).image.sizes().vec(), (std::vector<int64_t>{1, 16, 16}));

  const TestFolder digits;
  write_small_mnist(digits);
  options = named("mnist:" + digits.path().string());
  options.channels = 3;
  options.img_size = 8;
  EXPECT_EQ(open_data(options).train->image_shape(), (std::array<int64_t, 3>{3, 8, 8}));
  EXPECT_EQ(open_data(options).train->get(0).image.sizes().vec(), (std::vector<int64_t>{3, 8, 8}));
}

TEST(Statistics, AreThoseOfTheFormula) {
  const auto set = noise_dataset(50, {3, 6, 7}, 2);
  const auto statistics = compute_statistics(*set);
  for (int64_t c = 0; c < 3; ++c) {
    std::vector<double> values;
    for (int64_t i = 0; i < 50; ++i) {
      for (int64_t k = 0; k < 42; ++k) values.push_back(set->pixels(i)[c * 42 + k] / 255.0);
    }
    const double n = static_cast<double>(values.size());
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
    double square = 0;
    for (const double x : values) square += (x - mean) * (x - mean);
    EXPECT_NEAR(statistics.mean[c], mean, 1e-12);
    EXPECT_NEAR(statistics.std[c], std::sqrt(square / n), 1e-12);
  }
}

TEST(Statistics, AConstantChannelHasStdOneAndFilesAreSampled) {
  at::Tensor images = new_image(1, 12, 12).view({4, 1, 6, 6});
  images.fill_(200);
  const TensorDataset set(images, {0, 0, 0, 0}, {"only"}, "flat");
  EXPECT_EQ(compute_statistics(set).std[0], 1.0);
  EXPECT_NEAR(compute_statistics(set).mean[0], 200 / 255.0, 1e-12);
  const Subset none(std::make_shared<TensorDataset>(set), {});
  expect_error(ErrorKind::data, {"at least one image"}, [&] { compute_statistics(none); });

  const TestFolder folder;
  for (int i = 0; i < 5; ++i) folder.write(fmt::format("a/{}.png", i), png(3, 4, 4, i));
  const auto files = open_folder(folder.path()).train;
  EXPECT_NE(compute_statistics(*files, 2).mean, compute_statistics(*files).mean);
}

TEST(TensorDataset, ChecksWhatItIsGiven) {
  const at::Tensor images = noise(1, 4, 4).view({2, 1, 2, 4});
  expect_error(ErrorKind::data, {"2 images, 1 labels"}, [&] { TensorDataset(images, {0}, {"a"}, "x"); });
  expect_error(ErrorKind::data, {"found 1 at image 1"}, [&] { TensorDataset(images, {0, 1}, {"a"}, "x"); });
  expect_error(ErrorKind::usage, {"contiguous uint8"}, [&] {
    TensorDataset(images.to(at::kFloat), {0, 0}, {"a"}, "x");
  });
  expect_error(ErrorKind::usage, {"index must be in [0, 2)"}, [&] {
    Subset(noise_dataset(2, {1, 2, 2}, 1), {0, 2});
  });
}

TEST(ImageTensor, GoesThereAndBack) {
  const at::Tensor image = noise(3, 5, 4);
  const io::Image written = tensor_to_image(image);
  EXPECT_EQ(written.pixels[(2 * 4 + 1) * 3 + 2], bytes_of(image)[(2 * 5 + 2) * 4 + 1]);
  EXPECT_EQ(bytes_of(image_to_tensor(written)), bytes_of(image));
}

}  // namespace
}  // namespace fovea::data
