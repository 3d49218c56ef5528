// The file formats: IDX, CIFAR's binary version, folders of images.
#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>

#include "fovea/data/cifar.h"
#include "fovea/data/class_names.h"
#include "fovea/data/folder.h"
#include "fovea/data/idx.h"
#include "fovea/data/loader.h"
#include "fovea/data/open.h"
#include "tests/data/small_files.h"
#include "tests/support/errors.h"

namespace fovea::data {
namespace {

namespace fs = std::filesystem;

TEST(Idx, ReadsPlainAndCompressedFiles) {
  const TestFolder folder;
  write_small_mnist(folder);
  DataOptions options;
  options.name = "mnist:" + folder.path().string();
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
  refused(io::gzip(idx_file({100}, 100)).substr(0, 60), "");
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
  DataOptions options;
  options.name = "folder:" + folder.path().string();
  const Splits splits = open_data(options);
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

}  // namespace
}  // namespace fovea::data
