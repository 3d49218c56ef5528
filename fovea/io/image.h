#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::io {

/// Pixels in memory: row by row from the top, the channels of a pixel side by side, 8 bits each.
struct Image {
  int64_t width = 0, height = 0;
  int64_t channels = 0;         ///< 1 (grey) or 3 (red, green, blue)
  std::vector<uint8_t> pixels;  ///< height * width * channels
};

/// Which channels a decoded image has.
enum class ColorMode {
  as_stored,  ///< 1 for a grey file, else 3
  grey,       ///< 1: colour becomes (19595 R + 38470 G + 7471 B + 32768) >> 16, ITU-R 601 as Pillow rounds it
  rgb         ///< 3: grey is repeated
};

struct ImageOptions {
  int64_t max_pixels = 100'000'000;  ///< checked on the header, before any memory is taken
  ColorMode color = ColorMode::as_stored;
  bool apply_orientation = true;  ///< turn and mirror as the EXIF tag 0x0112 says
  bool scale_grey16 = false;      ///< 16-bit grey PNG: value / 256 instead of Pillow's min(value, 255)
};

/// Decodes a JPEG or PNG file, told apart by content, never by name.
///
/// Pixels equal Pillow's `Image.open(f).convert("RGB")` (or "L") bit by bit: alpha and transparent colours
/// are dropped, not blended; gamma and colour profiles are ignored; CMYK and YCCK JPEGs are taken as Adobe's
/// inverted ones; 16-bit colour keeps the high byte; 16-bit grey is clipped at 255 unless scale_grey16.
/// Throws data_error naming `where` for an empty, truncated, damaged, too large or unknown image.
/// O(pixels) time; memory: the pixels, for progressive JPEGs 3 times that.
Image decode_image(std::span<const std::byte> bytes, std::string_view where,
                   const ImageOptions& options = {});

/// decode_image of the file's content. Throws data_error also for a file that cannot be read, is a device or
/// pipe, or has more than 256 MiB; what is no JPEG or PNG is refused before it is read.
Image read_image(const std::filesystem::path& path, const ImageOptions& options = {});

/// The image as a PNG file, grey or RGB, 8 bits. Equal images give equal bytes (with one zlib).
/// Throws usage_error if the sizes do not fit, are not positive or exceed libpng's million pixels a side.
std::string encode_png(const Image& image);

/// encode_png, written whole or not at all (write_atomically).
void write_png(const std::filesystem::path& path, const Image& image);

}  // namespace fovea::io
