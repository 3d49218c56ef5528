#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <new>

#include "fovea/core/error.h"
#include "fovea/io/exif.h"
#include "fovea/io/image_formats.h"

namespace fovea::io {
namespace {

// libpng's longest side; our own limit on pixels is stricter for most shapes.
constexpr int64_t kMaxSide = 1'000'000;

struct PngErrors {
  jmp_buf jump;
  char message[200];
};

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto* errors = static_cast<PngErrors*>(png_get_error_ptr(png));
  std::strncpy(errors->message, message, sizeof errors->message - 1);
  longjmp(errors->jump, 1);
}

void on_warning(png_structp, png_const_charp) {}

// Chunks that change nothing in the pixels we return: colour management, text (which may unpack to
// gigabytes), and transparency, which is dropped.
constexpr char kIgnoredChunks[] =
    "bKGD\0cHRM\0gAMA\0hIST\0iCCP\0iTXt\0oFFs\0pCAL\0pHYs\0sBIT\0sCAL\0sPLT\0sRGB\0tEXt\0tIME\0tRNS\0zTXt";

// libpng's errors arrive by longjmp, so the members that call it hold nothing with a destructor in their
// frames; all that needs one is in the object.
class PngReader {
 public:
  explicit PngReader(std::span<const std::byte> bytes) : left_(bytes) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &errors_, on_error, on_warning);
    info_ = png_ ? png_create_info_struct(png_) : nullptr;
    if (!info_) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      throw std::bad_alloc();
    }
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  bool read_header() {
    if (setjmp(errors_.jump)) return false;
    png_set_read_fn(png_, this, [](png_structp png, png_bytep out, size_t size) {
      static_cast<PngReader*>(png_get_io_ptr(png))->take(png, out, size);
    });
    // Sides are judged by require_pixels, whose message says more.
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER,
                                reinterpret_cast<png_const_bytep>(kIgnoredChunks), sizeof kIgnoredChunks / 5);
    png_read_info(png_, info_);
    return true;
  }

  // Asks libpng for 8 bits of grey or RGB, or for raw 16-bit grey. Then row_bytes() is known.
  bool choose_output() {
    if (setjmp(errors_.jump)) return false;
    if (is_palette()) png_set_palette_to_rgb(png_);
    if (color_type() == PNG_COLOR_TYPE_GRAY && depth() < 8) png_set_expand_gray_1_2_4_to_8(png_);
    if (depth() == 16 && !is_grey16()) png_set_strip_16(png_);
    if (color_type() & PNG_COLOR_MASK_ALPHA) png_set_strip_alpha(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }

  bool read_pixels(png_bytep* rows) {
    if (setjmp(errors_.jump)) return false;
    png_read_image(png_, rows);
    png_read_end(png_, info_);
    return true;
  }

  int64_t width() const { return png_get_image_width(png_, info_); }
  int64_t height() const { return png_get_image_height(png_, info_); }
  int64_t channels() const { return color_type() & PNG_COLOR_MASK_COLOR ? 3 : 1; }
  size_t row_bytes() const { return png_get_rowbytes(png_, info_); }
  bool is_grey16() const { return color_type() == PNG_COLOR_TYPE_GRAY && depth() == 16; }
  const char* message() const { return errors_.message; }

  int orientation() const {
    png_uint_32 size = 0;
    png_bytep exif = nullptr;
    if (!png_get_eXIf_1(png_, info_, &size, &exif) || !exif) return 1;
    return exif_orientation(std::as_bytes(std::span(exif, size)));
  }

 private:
  int depth() const { return png_get_bit_depth(png_, info_); }
  int color_type() const { return png_get_color_type(png_, info_); }
  bool is_palette() const { return color_type() == PNG_COLOR_TYPE_PALETTE; }

  void take(png_structp png, png_bytep out, size_t size) {
    if (size > left_.size()) png_error(png, "the file ends too early (truncated)");
    std::memcpy(out, left_.data(), size);
    left_ = left_.subspan(size);
  }

  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::span<const std::byte> left_;
  PngErrors errors_{};
};

// In place: 16-bit big-endian to 8 bits.
void narrow_grey16(std::vector<uint8_t>& pixels, bool scale) {
  const size_t count = pixels.size() / 2;
  for (size_t i = 0; i < count; ++i) {
    const uint8_t high = pixels[2 * i], low = pixels[2 * i + 1];
    pixels[i] = scale ? high : high != 0 ? 255 : low;
  }
  pixels.resize(count);
}

class PngWriter {
 public:
  PngWriter() {
    png_ = png_create_write_struct(PNG_LIBPNG_VER_STRING, &errors_, on_error, on_warning);
    info_ = png_ ? png_create_info_struct(png_) : nullptr;
    if (!info_) {
      png_destroy_write_struct(&png_, nullptr);
      throw std::bad_alloc();
    }
  }
  ~PngWriter() { png_destroy_write_struct(&png_, &info_); }
  PngWriter(const PngWriter&) = delete;
  PngWriter& operator=(const PngWriter&) = delete;

  bool write(const Image& image) {
    if (setjmp(errors_.jump)) return false;
    png_set_write_fn(png_, &bytes_, append, [](png_structp) {});
    png_set_IHDR(png_, info_, static_cast<png_uint_32>(image.width), static_cast<png_uint_32>(image.height),
                 8, image.channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png_, info_);
    const size_t stride = static_cast<size_t>(image.width * image.channels);
    for (size_t y = 0; y < static_cast<size_t>(image.height); ++y) {
      png_write_row(png_, image.pixels.data() + y * stride);
    }
    png_write_end(png_, info_);
    return true;
  }

  const char* message() const { return errors_.message; }
  std::string take_bytes() { return std::move(bytes_); }

 private:
  static void append(png_structp png, png_bytep data, size_t size) {
    bool done = false;
    try {
      static_cast<std::string*>(png_get_io_ptr(png))->append(reinterpret_cast<const char*>(data), size);
      done = true;
    } catch (const std::bad_alloc&) {
      // Leave the handler before the jump out of it.
    }
    if (!done) png_error(png, "out of memory");
  }

  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::string bytes_;
  PngErrors errors_{};
};

}  // namespace

DecodedImage decode_png(std::span<const std::byte> bytes, std::string_view where,
                        const ImageOptions& options) {
  PngReader reader(bytes);
  if (!reader.read_header()) fail_damaged(where, "PNG", reader.message());
  require_pixels(reader.width(), reader.height(), where, options);
  if (!reader.choose_output()) fail_damaged(where, "PNG", reader.message());
  const bool grey16 = reader.is_grey16();
  Image image{reader.width(), reader.height(), reader.channels(), {}};
  const size_t stride = reader.row_bytes();
  image.pixels.resize(stride * static_cast<size_t>(image.height));
  std::vector<png_bytep> rows(static_cast<size_t>(image.height));
  for (size_t y = 0; y < rows.size(); ++y) rows[y] = image.pixels.data() + y * stride;
  if (!reader.read_pixels(rows.data())) fail_damaged(where, "PNG", reader.message());
  if (grey16) narrow_grey16(image.pixels, options.scale_grey16);
  return {std::move(image), reader.orientation()};
}

std::string encode_png(const Image& image) {
  const bool sides =
      image.width > 0 && image.height > 0 && image.width <= kMaxSide && image.height <= kMaxSide;
  const bool channels = image.channels == 1 || image.channels == 3;
  if (!sides || !channels ||
      image.pixels.size() != static_cast<size_t>(image.width * image.height * image.channels)) {
    throw usage_error(
        "encode_png",
        fmt::format("an image has height x width x (1 or 3) pixels and sides of 1 to {}; found {} x {} x "
                    "{} and {} values. Fill in all of them.",
                    kMaxSide, image.height, image.width, image.channels, image.pixels.size()));
  }
  PngWriter writer;
  if (!writer.write(image)) throw Error(ErrorKind::other, "encode_png", writer.message());
  return writer.take_bytes();
}

}  // namespace fovea::io
