#include "fovea/io/image.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <zlib.h>

#include <random>

#include "fovea/io/exif.h"
#include "fovea/io/file.h"
#include "tests/io/scratch.h"
#include "tests/support/errors.h"

namespace fovea::io {
namespace {

const std::filesystem::path kGolden = std::filesystem::path(FOVEA_TEST_DATA) / "image";

uint32_t check_sum(const Image& image) {
  return static_cast<uint32_t>(crc32(0, image.pixels.data(), static_cast<uInt>(image.pixels.size())));
}

std::vector<std::filesystem::path> golden_images() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(kGolden)) {
    if (entry.path().extension() != ".txt") files.push_back(entry.path());
  }
  return files;
}

// expected.txt is Pillow 13's word: scripts/parity_tests/image_golden.py.
TEST(Image, EqualsPillowToTheBit) {
  std::ifstream lines(kGolden / "expected.txt");
  std::string name, sum;
  int64_t width = 0, height = 0, channels = 0, count = 0;
  while (lines >> name >> width >> height >> channels >> sum) {
    ImageOptions options;
    const bool as_grey = name.ends_with(":L");
    if (as_grey) {
      options.color = ColorMode::grey;
      name.resize(name.size() - 2);
    }
    const Image image = read_image(kGolden / name, options);
    EXPECT_EQ(image.width, width) << name;
    EXPECT_EQ(image.height, height) << name;
    EXPECT_EQ(image.channels, channels) << name;
    EXPECT_EQ(image.pixels.size(), static_cast<size_t>(width * height * channels)) << name;
    EXPECT_EQ(check_sum(image), std::stoul(sum, nullptr, 16)) << name << (as_grey ? " as grey" : "");
    ++count;
  }
  EXPECT_EQ(count, 2 * static_cast<int64_t>(golden_images().size()));
}

TEST(Image, RepeatsGreyWhenAskedForColor) {
  const Image grey = read_image(kGolden / "grey.jpg"),
              rgb = read_image(kGolden / "grey.jpg", {.color = ColorMode::rgb});
  ASSERT_EQ(grey.channels, 1);
  ASSERT_EQ(rgb.channels, 3);
  ASSERT_EQ(rgb.pixels.size(), 3 * grey.pixels.size());
  for (size_t i = 0; i < rgb.pixels.size(); ++i) ASSERT_EQ(rgb.pixels[i], grey.pixels[i / 3]);
}

TEST(Image, ScalesDeepGreyWhenAsked) {
  const Image clipped = read_image(kGolden / "grey_16.png");
  const Image scaled = read_image(kGolden / "grey_16.png", {.scale_grey16 = true});
  int64_t high_bytes = 0;
  for (size_t i = 0; i < clipped.pixels.size(); ++i) {
    // Either the value is below 256, or Pillow's reading of it is white.
    ASSERT_TRUE(scaled.pixels[i] == 0 || clipped.pixels[i] == 255);
    high_bytes += scaled.pixels[i] != 0 && scaled.pixels[i] != 255;
  }
  EXPECT_GT(high_bytes, 50);
}

TEST(Image, OrientationIsOptional) {
  const Image upright = read_image(kGolden / "exif_6.jpg");
  const Image stored = read_image(kGolden / "exif_6.jpg", {.apply_orientation = false});
  EXPECT_EQ(upright.width, stored.height);
  EXPECT_NE(upright.pixels, stored.pixels);
  EXPECT_EQ(stored.pixels, read_image(kGolden / "exif_1.jpg").pixels);
}

// 1 2 3   as each orientation has it turned. EXIF's own words: 6 = row 0 is the right side, column 0 the top.
// 4 5 6
TEST(Exif, TurnsAsTheStandardSays) {
  const std::vector<std::vector<uint8_t>> expected = {
      {1, 2, 3, 4, 5, 6}, {3, 2, 1, 6, 5, 4}, {6, 5, 4, 3, 2, 1}, {4, 5, 6, 1, 2, 3},
      {1, 4, 2, 5, 3, 6}, {4, 1, 5, 2, 6, 3}, {6, 3, 5, 2, 4, 1}, {3, 6, 2, 5, 1, 4}};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    Image image{3, 2, 1, {1, 2, 3, 4, 5, 6}};
    apply_orientation(image, orientation);
    EXPECT_EQ(image.pixels, expected[static_cast<size_t>(orientation - 1)]) << orientation;
    EXPECT_EQ(image.width, orientation < 5 ? 3 : 2);
    EXPECT_EQ(image.height, orientation < 5 ? 2 : 3);
  }
}

std::string tiff(uint16_t entries, uint32_t directory, const std::string& rest) {
  std::string block = "II*";
  block += '\0';
  for (int i = 0; i < 4; ++i) block += static_cast<char>(directory >> (8 * i));
  block += static_cast<char>(entries & 0xff);
  block += static_cast<char>(entries >> 8);
  return block + rest;
}

TEST(Exif, SurvivesHostileBlocks) {
  const std::string entry("\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00", 12);
  const auto orientation = [](const std::string& block) { return exif_orientation(as_bytes(block)); };
  const std::string good = tiff(1, 8, entry);
  EXPECT_EQ(orientation(good), 6);
  for (size_t size = 0; size < good.size() - 2; ++size)
    EXPECT_EQ(orientation(good.substr(0, size)), 1) << size;
  EXPECT_EQ(orientation(tiff(0, 8, entry)), 1);
  EXPECT_EQ(orientation(tiff(65535, 8, entry)), 6);
  EXPECT_EQ(orientation(tiff(65535, 0, entry)), 1) << "a directory over the header";
  EXPECT_EQ(orientation(tiff(65535, 0xffffffff, entry)), 1);
  EXPECT_EQ(orientation(tiff(1, 0xfffffff8, entry)), 1);
  for (const char value : {'\0', '\x09', '\xff'}) {
    std::string block = good;
    block[block.size() - 4] = value;
    EXPECT_EQ(orientation(block), 1);
  }
  std::string many = good, typed = good, big = good;
  many[14] = 2;   // count
  typed[12] = 2;  // a text
  big[2] = 43;    // BigTIFF
  EXPECT_EQ(orientation(many), 1);
  EXPECT_EQ(orientation(typed), 1);
  EXPECT_EQ(orientation(big), 1);
}

TEST(Image, EveryTruncationIsAnError) {
  for (const auto& path : golden_images()) {
    const std::string content = slurp(path);
    for (size_t size = 0; size < content.size(); ++size) {
      expect_error(ErrorKind::data, {"[cut] a"}, [&] { decode_image(as_bytes(content).first(size), "cut"); });
      if (HasFailure()) FAIL() << path << " cut to " << size;
    }
  }
}

// The decoder may take damage for content or refuse it, no more. Sanitizer builds make this test sharp.
TEST(Image, DamageNeverCrashes) {
  std::mt19937 random(7);
  const ImageOptions options{.max_pixels = 100'000};
  for (const auto& path : golden_images()) {
    const std::string content = slurp(path);
    for (int round = 0; round < 150; ++round) {
      std::string damaged = content;
      for (int hit = 0; hit <= round % 4; ++hit)
        damaged[random() % damaged.size()] = static_cast<char>(random());
      try {
        const Image image = decode_image(as_bytes(damaged), "x", options);
        ASSERT_EQ(image.pixels.size(), static_cast<size_t>(image.width * image.height * image.channels));
      } catch (const Error& error) {
        ASSERT_EQ(error.kind(), ErrorKind::data);
      }
    }
  }
}

TEST(Image, TellsWhatTheFileIsInstead) {
  const ScratchFolder folder;
  spill(folder / "text.png", "hello\nworld");
  spill(folder / "empty.jpg", "");
  expect_error(ErrorKind::data, {"text that begins with 'hello?world'"},
               [&] { read_image(folder / "text.png"); });
  expect_error(ErrorKind::data, {(folder / "text.png").string()}, [&] { read_image(folder / "text.png"); });
  expect_error(ErrorKind::data, {"found an empty file"}, [&] { read_image(folder / "empty.jpg"); });
  expect_error(ErrorKind::data, {"No such file"}, [&] { read_image(folder / "none.jpg"); });
  const auto expect_found = [](const std::string& content, const std::string& what) {
    expect_error(ErrorKind::data, {"found " + what}, [&] { decode_image(as_bytes(content), "x"); });
  };
  expect_found("GIF89a", "a GIF");
  expect_found("BM\1\2", "a BMP");
  expect_found("RIFFxxxxWEBP", "a WebP");
  expect_found("II*\1", "a TIFF");
  expect_found("xxxxftypheic", "a HEIF");
  expect_found("\1\2\3", "unknown content");
  spill(folder / "picture.txt", slurp(kGolden / "rgb_8.png"));
  EXPECT_EQ(read_image(folder / "picture.txt").channels, 3) << "content decides, not the name";
}

// 30,000 x 30,000 pixels, 2.7 GB, in a file of some bytes: refused from the header.
TEST(Image, ReadsNoMoreThanAnImageNeeds) {
  const ScratchFolder folder;
  expect_error(ErrorKind::data, {"regular file"}, [&] { read_image("/dev/zero"); });
  ASSERT_EQ(::mkfifo((folder / "pipe.png").c_str(), 0600), 0);
  expect_error(ErrorKind::data, {"regular file"}, [&] { read_image(folder / "pipe.png"); });
  // With a hole, so that it takes no disk.
  spill(folder / "zeros.png", "");
  std::filesystem::resize_file(folder / "zeros.png", uint64_t{3} << 30);
  expect_error(ErrorKind::data, {"unknown content"}, [&] { read_image(folder / "zeros.png"); });
  spill(folder / "large.png", slurp(kGolden / "rgb_8.png"));
  std::filesystem::resize_file(folder / "large.png", (uint64_t{256} << 20) + 1);
  expect_error(ErrorKind::data, {"at most 268435456 bytes"}, [&] { read_image(folder / "large.png"); });
}

TEST(Image, JpegDataThatEndEarly) {
  const std::string jpeg = slurp(kGolden / "420.jpg");
  for (const double part : {0.5, 0.75, 0.9}) {
    const std::string cut =
        jpeg.substr(0, static_cast<size_t>(static_cast<double>(jpeg.size()) * part)) + "\xff\xd9";
    expect_error(ErrorKind::data, {"x.jpg"}, [&] { decode_image(as_bytes(cut), "x.jpg"); });
  }
}

TEST(Image, RefusesBombs) {
  std::string png = slurp(kGolden / "rgb_8.png"), jpeg = slurp(kGolden / "420.jpg");
  const std::string side("\x75\x30", 2);
  png.replace(18, 2, side).replace(22, 2, side);
  uint32_t sum = static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(&png[12]), 17));
  for (size_t i = 0; i < 4; ++i) png[29 + i] = static_cast<char>(sum >> (24 - 8 * i));
  const size_t frame = jpeg.find("\xff\xc0");
  jpeg.replace(frame + 5, 2, side).replace(frame + 7, 2, side);
  for (const std::string& bomb : {png, jpeg}) {
    expect_error(ErrorKind::data,
                 {"[bomb] an image must have between 1 and 100000000 pixels; found 30000 x 30000."},
                 [&] { decode_image(as_bytes(bomb), "bomb"); });
  }
  const std::string small = slurp(kGolden / "rgb_8.png");
  expect_error(ErrorKind::data, {"found 11 x 9"},
               [&] { decode_image(as_bytes(small), "x", {.max_pixels = 98}); });
  EXPECT_NO_THROW(decode_image(as_bytes(small), "x", {.max_pixels = 99}));
}

TEST(Png, WritesWhatItReads) {
  const ScratchFolder folder;
  std::mt19937 random(2);
  for (const int64_t channels : {1, 3}) {
    Image image{13, 7, channels, std::vector<uint8_t>(static_cast<size_t>(13 * 7 * channels))};
    for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(random());
    write_png(folder / "f.png", image);
    EXPECT_EQ(slurp(folder / "f.png"), encode_png(image));
    const Image back = read_image(folder / "f.png");
    EXPECT_EQ(back.width, 13);
    EXPECT_EQ(back.height, 7);
    EXPECT_EQ(back.channels, channels);
    EXPECT_EQ(back.pixels, image.pixels);
  }
  EXPECT_EQ(folder.names(), std::vector<std::string>{"f.png"});
}

TEST(Png, RefusesImpossibleImages) {
  for (const Image& image :
       {Image{}, Image{2, 2, 2, std::vector<uint8_t>(8)}, Image{2, 2, 1, std::vector<uint8_t>(3)},
        Image{-2, -2, 1, std::vector<uint8_t>(4)}, Image{0, 2, 1, {}},
        Image{2'000'000, 1, 1, std::vector<uint8_t>(2'000'000)}}) {
    expect_error(ErrorKind::usage, {"height x width x (1 or 3)"}, [&] { encode_png(image); });
  }
}

}  // namespace
}  // namespace fovea::io
