#include "fovea/io/exif.h"

#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "fovea/io/image.h"

namespace fovea::io {
namespace {

constexpr uint64_t kOrientationTag = 0x0112, kByte = 1, kShort = 3, kLong = 4;
constexpr uint64_t kEntryBytes = 12;

// Numbers of either byte order at any offset; nothing beyond the end.
class TiffReader {
 public:
  TiffReader(std::span<const std::byte> bytes, bool big_endian) : bytes_(bytes), big_endian_(big_endian) {}

  std::optional<uint64_t> number(uint64_t offset, uint64_t width) const {
    if (offset > bytes_.size() || width > bytes_.size() - offset) return std::nullopt;
    uint64_t value = 0;
    for (uint64_t i = 0; i < width; ++i) {
      const uint64_t shift = 8 * (big_endian_ ? width - 1 - i : i);
      value |= std::to_integer<uint64_t>(bytes_[offset + i]) << shift;
    }
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
  bool big_endian_;
};

// The value of the entry at `offset`, which is stored in place for the types a writer may choose here.
std::optional<uint64_t> entry_value(const TiffReader& tiff, uint64_t offset) {
  const auto type = tiff.number(offset + 2, 2), count = tiff.number(offset + 4, 4);
  if (!type || count != 1) return std::nullopt;
  if (*type == kByte) return tiff.number(offset + 8, 1);
  if (*type == kShort) return tiff.number(offset + 8, 2);
  if (*type == kLong) return tiff.number(offset + 8, 4);
  return std::nullopt;
}

}  // namespace

int exif_orientation(std::span<const std::byte> tiff) noexcept {
  if (tiff.size() < 8) return 1;
  const bool big_endian = tiff[0] == std::byte{'M'} && tiff[1] == std::byte{'M'};
  const bool little_endian = tiff[0] == std::byte{'I'} && tiff[1] == std::byte{'I'};
  const TiffReader reader(tiff, big_endian);
  if ((!big_endian && !little_endian) || reader.number(2, 2) != 42) return 1;
  const uint64_t directory = *reader.number(4, 4);
  const uint64_t entries = reader.number(directory, 2).value_or(0);
  for (uint64_t i = 0; i < entries; ++i) {
    const uint64_t offset = directory + 2 + i * kEntryBytes;
    const auto tag = reader.number(offset, 2);
    if (!tag) return 1;
    if (*tag != kOrientationTag) continue;
    const uint64_t value = entry_value(reader, offset).value_or(1);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

void apply_orientation(Image& image, int orientation) {
  if (orientation <= 1 || orientation > 8) return;
  // Each orientation is: exchange the axes or not, then count the source's columns and rows from the far end
  // or not.
  const bool exchange = orientation >= 5;
  const bool mirror_columns = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool mirror_rows = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const Image source = std::move(image);
  image = Image{
      exchange ? source.height : source.width, exchange ? source.width : source.height, source.channels, {}};
  image.pixels.resize(source.pixels.size());
  uint8_t* out = image.pixels.data();
  const auto channels = static_cast<size_t>(source.channels);
  for (int64_t y = 0; y < image.height; ++y) {
    for (int64_t x = 0; x < image.width; ++x) {
      const int64_t column = exchange ? y : x, row = exchange ? x : y;
      const int64_t from_column = mirror_columns ? source.width - 1 - column : column;
      const int64_t from_row = mirror_rows ? source.height - 1 - row : row;
      std::memcpy(out, &source.pixels[static_cast<size_t>(from_row * source.width + from_column) * channels],
                  channels);
      out += channels;
    }
  }
}

}  // namespace fovea::io
