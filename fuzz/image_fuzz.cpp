#include <zlib.h>

#include <algorithm>

#include "fovea/core/error.h"
#include "fovea/io/exif.h"
#include "fovea/io/file.h"
#include "fovea/io/image.h"
#include "fuzz/require.h"

namespace fovea {
namespace {

using fuzz::require;

uint32_t big_endian(const std::string& text, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = (value << 8) | static_cast<uint8_t>(text[at + i]);
  return value;
}

// Sets the check sums of a PNG's chunks, which no mutation would ever hit.
void mend_check_sums(std::string& png) {
  for (size_t at = 8; at + 12 <= png.size();) {
    const size_t length = big_endian(png, at);
    if (length > png.size() - at - 12) return;
    const auto* chunk = reinterpret_cast<const Bytef*>(png.data() + at + 4);
    const auto sum = static_cast<uint32_t>(crc32(0, chunk, static_cast<uInt>(length + 4)));
    for (size_t i = 0; i < 4; ++i) png[at + 8 + length + i] = static_cast<char>(sum >> (24 - 8 * i));
    at += 12 + length;
  }
}

void decode(const std::string& content, const io::ImageOptions& options) {
  const io::Image image = io::decode_image(io::as_bytes(content), "fuzz", options);
  require(image.width > 0 && image.height > 0 && image.width * image.height <= options.max_pixels,
          "sizes are allowed");
  require(image.channels == 1 || image.channels == 3, "grey or colour");
  require(image.pixels.size() == static_cast<size_t>(image.width * image.height * image.channels),
          "all pixels there");
}

}  // namespace
}  // namespace fovea

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fovea;
  const int orientation = io::exif_orientation(std::as_bytes(std::span(data, size)));
  fuzz::require(orientation >= 1 && orientation <= 8, "an orientation");
  std::string content(reinterpret_cast<const char*>(data), size);
  if (content.starts_with("\x89PNG")) mend_check_sums(content);
  const auto color = static_cast<io::ColorMode>(size % 3);
  try {
    decode(content, {.max_pixels = 1 << 14, .color = color, .scale_grey16 = size % 2 == 0});
  } catch (const Error& error) {
    fuzz::require(error.kind() == ErrorKind::data, "bad images are bad data");
  }
  return 0;
}
