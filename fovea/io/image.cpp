#include "fovea/io/image.h"

#include <fmt/format.h>

#include <algorithm>

#include "fovea/core/error.h"
#include "fovea/io/exif.h"
#include "fovea/io/file.h"
#include "fovea/io/image_formats.h"
#include "fovea/io/utf8.h"

namespace fovea::io {
namespace {

constexpr size_t kShown = 64;  // bytes that tell what a file is
constexpr std::string_view kPng = "\x89PNG\r\n\x1a\n", kJpeg = "\xff\xd8\xff";

// What a file is instead of an image, by its first bytes.
std::string describe_content(std::string_view start) {
  if (start.starts_with("GIF8")) return "a GIF";
  if (start.starts_with("BM")) return "a BMP";
  if (start.starts_with("RIFF") && start.substr(0, 12).ends_with("WEBP")) return "a WebP";
  if (start.starts_with("II*") || start.starts_with(std::string_view("MM\0*", 4))) return "a TIFF";
  if (start.substr(0, 8).ends_with("ftyp")) return "a HEIF, AVIF or MP4";
  const auto is_text = [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\r' || c == '\t';
  };
  start = start.substr(0, kShown);
  for (const char c : start) {
    if (!is_text(c)) return "unknown content";
  }
  return "text that begins with " + quote_text(start, 24);
}

// Whether it is a PNG; a JPEG otherwise.
bool require_known_format(std::span<const std::byte> bytes, std::string_view where) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const bool is_png = text.starts_with(kPng);
  if (is_png || text.starts_with(kJpeg)) return is_png;
  throw data_error(where,
                   fmt::format("an image must be a JPEG or PNG file; found {}. Convert it, or remove it.",
                               text.empty() ? "an empty file" : describe_content(text)));
}

void convert_to_grey(Image& image) {
  const size_t count = image.pixels.size() / 3;
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* rgb = &image.pixels[3 * i];
    image.pixels[i] =
        static_cast<uint8_t>((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
  }
  image.pixels.resize(count);
  image.channels = 1;
}

void convert_to_rgb(Image& image) {
  std::vector<uint8_t> rgb(image.pixels.size() * 3);
  for (size_t i = 0; i < rgb.size(); ++i) rgb[i] = image.pixels[i / 3];
  image.pixels = std::move(rgb);
  image.channels = 3;
}

}  // namespace

void require_pixels(int64_t width, int64_t height, std::string_view where, const ImageOptions& options) {
  // Sides are below 2^31 in both formats, so the product fits.
  if (width > 0 && height > 0 && width * height <= options.max_pixels) return;
  throw data_error(
      where, fmt::format("an image must have between 1 and {} pixels; found {} x {}. Make it smaller, or "
                         "raise the limit if you trust it.",
                         options.max_pixels, width, height));
}

void fail_damaged(std::string_view where, std::string_view format, std::string_view reason) {
  throw data_error(
      where, fmt::format("a {} image must be complete and undamaged; found: {}. Get the file anew.", format,
                         quote_text(reason, 200)));
}

Image decode_image(std::span<const std::byte> bytes, std::string_view where, const ImageOptions& options) {
  const bool is_png = require_known_format(bytes, where);
  auto [image, orientation] = is_png ? decode_png(bytes, where, options) : decode_jpeg(bytes, where, options);
  if (options.color == ColorMode::grey && image.channels == 3) convert_to_grey(image);
  if (options.apply_orientation) apply_orientation(image, orientation);
  if (options.color == ColorMode::rgb && image.channels == 1) convert_to_rgb(image);
  return image;
}

Image read_image(const std::filesystem::path& path, const ImageOptions& options) {
  constexpr uint64_t kLargestFile = uint64_t{256} << 20;
  {
    // Only the first page is touched: what is no image should cost no more, and a device has no end.
    const MappedFile start(path);
    require_known_format(start.bytes().first(std::min(start.bytes().size(), kShown)), path.string());
  }
  return decode_image(as_bytes(read_file(path, kLargestFile)), path.string(), options);
}

void write_png(const std::filesystem::path& path, const Image& image) {
  write_atomically(path, encode_png(image));
}

}  // namespace fovea::io
