#include "fovea/data/dataset.h"

#include <fmt/format.h>
#include <zlib.h>

#include <cmath>
#include <numeric>
#include <set>

#include "fovea/data/cifar.h"
#include "fovea/data/class_names.h"
#include "fovea/data/folder.h"
#include "fovea/data/idx.h"
#include "fovea/data/image_tensor.h"
#include "fovea/data/loader.h"
#include "fovea/data/open.h"
#include "fovea/data/statistics.h"
#include "fovea/data/subset.h"
#include "tests/data/support.h"

namespace fovea::data {
namespace {

namespace fs = std::filesystem;

std::string big_endian(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
          static_cast<char>(value)};
}

// An IDX file whose header says `shape` and which holds `count` bytes 0, 1, 2, ... modulo `modulo`.
std::string idx_file(const std::vector<uint32_t>& shape, size_t count, int modulo = 251) {
  std::string file = {0, 0, 8, static_cast<char>(shape.size())};
  for (const uint32_t extent : shape) file += big_endian(extent);
  for (size_t i = 0; i < count; ++i) file += static_cast<char>(i % modulo);
  return file;
}

std::string gzipped(const std::string& bytes) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(bytes.size() + 1000, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// 120 training and 20 test images of 5 x 4 pixels in 10 classes, the training files compressed.
void write_small_mnist(const TestFolder& folder) {
  folder.write("train-images-idx3-ubyte.gz", gzipped(idx_file({120, 5, 4}, 2400)));
  folder.write("train-labels-idx1-ubyte.gz", gzipped(idx_file({120}, 120, 10)));
  folder.write("t10k-images-idx3-ubyte", idx_file({20, 5, 4}, 400));
  folder.write("t10k-labels-idx1-ubyte", idx_file({20}, 20, 10));
}

DataOptions named(const std::string& name) {
  DataOptions options;
  options.name = name;
  return options;
}

TEST(Idx, ReadsPlainAndCompressedFiles) {
  const TestFolder folder;
  write_small_mnist(folder);
  auto options = named("mnist:" + folder.path().string());
  options.val_fraction = 0;
  const Splits splits = open_data(options);
  EXPECT_EQ(splits.train->size(), 120);
  EXPECT_EQ(splits.test->size(), 20);
  EXPECT_FALSE(splits.val);
  EXPECT_EQ(splits.train->image_shape(), (std::array<int64_t, 3>{1, 5, 4}));
  const Sample sample = splits.train->get(17);
  EXPECT_EQ(sample.label, 7);
  EXPECT_EQ(sample.image.sizes().vec(), (std::vector<int64_t>{1, 5, 4}));
  for (int64_t i = 0; i < 20; ++i) EXPECT_EQ(bytes_of(sample.image)[i], (17 * 20 + i) % 251);
  EXPECT_EQ(splits.train->pixels(17)[3], (17 * 20 + 3) % 251);
  EXPECT_EQ(splits.train->class_names(), mnist_classes());
  expect_error(ErrorKind::usage, {"index must be in [0, 120)"}, [&] { splits.train->get(120); });
}

TEST(Idx, NamesEveryFault) {
  const TestFolder folder;
  const auto refused = [&](const std::string& bytes, const std::string& part) {
    const auto path = folder.write("some-idx3-ubyte", bytes);
    expect_error(ErrorKind::data, {path.string(), part}, [&] { read_idx(path); });
  };
  refused("", "found 0 bytes");
  refused(std::string("\0\0\x08", 3), "found 3 bytes");
  refused("hello, this is text", "starts with two zero bytes; found 0x68 0x65");
  refused(std::string("\0\0\x0d\x01\0\0\0\0", 8), "found type 13");
  refused(std::string("\0\0\x08\0\0\0\0\0", 8), "promises 0 dimensions");
  refused(idx_file({2, 3}, 6).substr(0, 10), "promises 2 dimensions; found 10 bytes");
  refused(idx_file({10, 5, 4}, 199), "array of 10 x 5 x 4; found 199 bytes");
  refused(idx_file({10, 5, 4}, 201), "array of 10 x 5 x 4; found 201 bytes");
  // Products that wrap around 64 bits must not look small.
  refused(idx_file({0x80000000, 0x80000000, 4, 4}, 0), "2147483648 x 2147483648 x 4 x 4; found 0 bytes");
  refused(gzipped(idx_file({100}, 100)).substr(0, 60), "");
}

TEST(Idx, ImagesAndLabelsMustFit) {
  const TestFolder folder;
  const auto images = folder.write("a-idx3-ubyte", idx_file({10, 5, 4}, 200));
  const auto refused = [&](const fs::path& pixels, const std::string& labels, const std::string& part) {
    const auto path = folder.write("b-idx1-ubyte", labels);
    expect_error(ErrorKind::data, {part}, [&] { open_idx(pixels, path, mnist_classes()); });
  };
  refused(images, idx_file({9}, 9), "found 9 labels, and 10 images");
  refused(images, idx_file({10, 1}, 10), "labels must have one dimension; found 10 x 1");
  std::string wrong_label = idx_file({10}, 10);
  wrong_label.back() = 10;
  refused(images, wrong_label, "labels must be in [0, 10); found 10 at position 9");
  refused(folder.write("c-idx3-ubyte", idx_file({0, 5, 4}, 0)), idx_file({0}, 0),
          "none of them 0; found 0 x 5 x 4");
  refused(folder.write("d-idx3-ubyte", idx_file({10}, 10)), idx_file({10}, 10), "N x H x W");
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

std::vector<int64_t> class_counts(const Dataset& set) {
  std::vector<int64_t> counts(set.class_names().size());
  for (int64_t i = 0; i < set.size(); ++i) ++counts[set.label(i)];
  return counts;
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

TEST(Cifar, ReadsBothLayouts) {
  const TestFolder folder;
  const auto records = [](size_t count, size_t labels, int first) {
    std::string file;
    for (size_t i = 0; i < count; ++i) {
      for (size_t l = 0; l < labels; ++l)
        file += static_cast<char>(first + static_cast<int>(i) + (l == 0 ? 0 : 30));
      for (int k = 0; k < 3072; ++k) file += static_cast<char>((k / 1024) * 50 + k % 32);
    }
    return file;
  };
  for (int i = 1; i <= 5; ++i)
    folder.write(fmt::format("cifar-10-batches-bin/data_batch_{}.bin", i), records(2, 1, i));
  folder.write("cifar-10-batches-bin/test_batch.bin", records(3, 1, 0));
  const Splits ten = open_cifar10(folder.path());
  EXPECT_EQ(ten.train->size(), 10);
  EXPECT_EQ(ten.test->size(), 3);
  EXPECT_EQ(ten.train->label(3), 3);  // the second of data_batch_2
  EXPECT_EQ(ten.train->image_shape(), (std::array<int64_t, 3>{3, 32, 32}));
  EXPECT_EQ(ten.train->pixels(5)[2 * 1024 + 33], 101);

  folder.write("train.bin", records(4, 2, 5));
  folder.write("test.bin", records(2, 2, 5));
  EXPECT_EQ(open_cifar100(folder.path()).train->label(1), 36);
  EXPECT_EQ(open_cifar100(folder.path(), CifarLabels::coarse).train->label(1), 6);
  EXPECT_EQ(open_cifar100(folder.path()).train->pixels(3)[31], 31);
  EXPECT_EQ(cifar100_classes().size(), 100u);
  EXPECT_EQ(cifar100_superclasses().size(), 20u);
  EXPECT_TRUE(std::is_sorted(cifar100_classes().begin(), cifar100_classes().end()));

  const auto path = folder.write("test.bin", records(2, 2, 5).substr(1));
  expect_error(ErrorKind::data, {path.string(), "records of 3074 bytes; found 6147"},
               [&] { open_cifar100(folder.path()); });
  folder.write("test.bin", records(1, 2, 90));
  expect_error(ErrorKind::data, {path.string(), "labels must be in [0, 100); found 120 in record 0"},
               [&] { open_cifar100(folder.path()); });
  folder.write("test.bin", "");
  expect_error(ErrorKind::data, {path.string(), "found 0 bytes"}, [&] { open_cifar100(folder.path()); });
}

std::string png(int64_t channels, int64_t height, int64_t width, uint64_t seed = 1) {
  return io::encode_png(tensor_to_image(noise(channels, height, width, seed)));
}

TEST(Folder, OneFolderAClass) {
  const TestFolder folder;
  folder.write("zèbre à rayures/grün 1.png", png(3, 6, 7, 1));
  folder.write("zèbre à rayures/deep/er/2.PNG", png(1, 6, 7, 2));
  folder.write("cat/no_extension", png(3, 8, 5, 3));
  folder.write("cat/notes.txt", "not an image");
  folder.write("cat/.hidden.png", "not an image");
  folder.write(".git/x.png", "not an image");
  folder.write("readme.png", "a file beside the classes");
  fs::create_directory_symlink(folder.path() / "cat", folder.path() / "cat/loop");
  fs::create_directory_symlink(folder.path(), folder.path() / "zèbre à rayures/up");
  fs::create_symlink(folder.path() / "nowhere", folder.path() / "cat/dangling");
  const Splits splits = open_folder(folder.path());
  const Dataset& train = *splits.train;
  EXPECT_EQ(train.class_names(), (std::vector<std::string>{"cat", "zèbre à rayures"}));
  // `up` leads to the root, so that class also holds the other's images: links are followed, once.
  EXPECT_EQ(class_counts(train), (std::vector<int64_t>{1, 4}));
  EXPECT_EQ(train.image_shape(), (std::array<int64_t, 3>{3, 0, 0}));
  EXPECT_EQ(train.describe(0), (folder.path() / "cat/no_extension").string());
  EXPECT_EQ(bytes_of(train.get(0).image), bytes_of(noise(3, 8, 5, 3)));
  EXPECT_EQ(open_folder(folder.path(), 1).train->get(0).image.sizes().vec(), (std::vector<int64_t>{1, 8, 5}));
  expect_error(ErrorKind::usage, {"channels must be 1 or 3"}, [&] { open_folder(folder.path(), 2); });
}

TEST(Folder, PartsAreUsedWhenThere) {
  const TestFolder folder;
  for (const char* name :
       {"train/a/1.png", "train/b/1.png", "train/b/2.png", "val/b/3.png", "test/a/4.png"}) {
    folder.write(name, png(3, 4, 4));
  }
  const Splits splits = open_data(named("folder:" + folder.path().string()));
  EXPECT_EQ(splits.train->size(), 3);
  EXPECT_EQ(splits.val->size(), 1);
  EXPECT_EQ(splits.val->label(0), 1);
  EXPECT_EQ(splits.val->class_names(), splits.train->class_names());
  EXPECT_EQ(splits.test->size(), 1);
  folder.write("val/bb/5.png", png(3, 4, 4));
  expect_error(ErrorKind::data, {"val/bb", "no class 'bb'"}, [&] { open_folder(folder.path()); });
}

TEST(Folder, AClassMayBeCalledTrain) {
  const TestFolder folder;
  folder.write("train/1.png", png(3, 4, 4));
  folder.write("tram/1.png", png(3, 4, 4));
  EXPECT_EQ(open_folder(folder.path()).train->class_names(), (std::vector<std::string>{"train", "tram"}));
}

TEST(Folder, NamesWhatItCannotUse) {
  const TestFolder folder;
  folder.write("a/1.png", png(3, 4, 4));
  fs::create_directories(folder.path() / "empty");
  expect_error(ErrorKind::data, {(folder.path() / "empty").string(), "at least one"},
               [&] { open_folder(folder.path()); });
  folder.write("empty/x.webp", "RIFF");
  expect_error(ErrorKind::data, {"x.webp", "only JPEG and PNG"}, [&] { open_folder(folder.path()); });
  fs::remove(folder.path() / "empty/x.webp");
  fs::create_symlink(folder.path() / "nowhere", folder.path() / "empty/y.jpg");
  expect_error(ErrorKind::data, {"y.jpg", "link to nothing"}, [&] { open_folder(folder.path()); });
  const auto file = folder.write("file", "");
  expect_error(ErrorKind::data, {file.string(), "found a file"}, [&] { open_folder(file); });
}

// The header of a PNG of 30,000 x 30,000 pixels, with a right checksum and hardly any data.
std::string image_bomb() {
  std::string bytes = png(3, 4, 4);
  bytes.replace(16, 8, big_endian(30000) + big_endian(30000));
  const auto crc = static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(bytes.data() + 12), 17));
  return bytes.replace(29, 4, big_endian(crc));
}

TEST(Folder, AnImageThatCannotBeReadIsNamed) {
  const TestFolder folder;
  const std::string whole = png(3, 40, 40);
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"c/text.png", "this is no image"},
      {"c/empty.jpg", ""},
      {"c/bomb.png", image_bomb()},
      {"c/half.png", whole.substr(0, whole.size() / 2)}};
  folder.write("c/0 good.png", whole);
  for (const auto& [name, bytes] : bad) {
    const auto path = folder.write(name, bytes);
    const auto set = open_folder(folder.path()).train;
    ASSERT_EQ(set->size(), 2);
    LoaderOptions options;
    options.shuffle = false;
    options.batch_size = 1;
    Loader loader(set, options);
    EXPECT_TRUE(loader.next());
    expect_error(ErrorKind::data, {path.string()}, [&] { loader.next(); });
    fs::remove(path);
  }
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
