#include <cstddef>
#include <cstdio>
// libjpeg's header needs the two above.
#include <jerror.h>
#include <jpeglib.h>

#include <csetjmp>
#include <cstring>

#include "fovea/io/exif.h"
#include "fovea/io/image_formats.h"

namespace fovea::io {
namespace {

// A progressive file may name thousands of scans of the whole image; real ones have about ten.
constexpr int kMaxScans = 500;
constexpr int kExifMarker = JPEG_APP0 + 1;
constexpr std::string_view kExifName("Exif\0\0", 6);

struct JpegErrors : jpeg_error_mgr {
  jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto* errors = static_cast<JpegErrors*>(info->err);
  errors->format_message(info, errors->message);
  longjmp(errors->jump, 1);
}

// libjpeg only warns when the file, or its picture data, end too early, and invents the rest. Pillow refuses
// the first; the second leaves grey where the picture was, which nobody asked for. Other warnings pass, as in
// Pillow.
void on_message(j_common_ptr info, int level) {
  const int code = info->err->msg_code;
  if (level < 0 && (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER)) {
    auto* errors = static_cast<JpegErrors*>(info->err);
    std::strcpy(errors->message, "the data end too early (truncated)");
    longjmp(errors->jump, 1);
  }
}

void on_progress(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMaxScans) return;
  auto* errors = static_cast<JpegErrors*>(info->err);
  std::strcpy(errors->message, "more than 500 scans");
  longjmp(errors->jump, 1);
}

// libjpeg's errors jump here by longjmp, so the members that call it hold nothing with a destructor in their
// frames; all that needs one is in the object.
class JpegReader {
 public:
  JpegReader() {
    info_.err = jpeg_std_error(&errors_);
    errors_.error_exit = on_error;
    errors_.emit_message = on_message;
    progress_.progress_monitor = on_progress;
  }
  ~JpegReader() { jpeg_destroy_decompress(&info_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  bool read_header(std::span<const std::byte> bytes) {
    if (setjmp(errors_.jump)) return false;
    jpeg_create_decompress(&info_);
    info_.progress = &progress_;
    jpeg_mem_src(&info_, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
    jpeg_save_markers(&info_, kExifMarker, 0xffff);
    jpeg_read_header(&info_, TRUE);
    if (info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK) {
      info_.out_color_space = JCS_CMYK;
    } else if (info_.jpeg_color_space != JCS_GRAYSCALE) {
      info_.out_color_space = JCS_RGB;
    }
    return true;
  }

  // Fills `out`, of file_channels() a pixel.
  bool read_pixels(uint8_t* out) {
    if (setjmp(errors_.jump)) return false;
    jpeg_start_decompress(&info_);
    const size_t stride =
        static_cast<size_t>(info_.output_width) * static_cast<size_t>(info_.output_components);
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = out + info_.output_scanline * stride;
      jpeg_read_scanlines(&info_, &row, 1);
    }
    jpeg_finish_decompress(&info_);
    return true;
  }

  const char* message() const { return errors_.message; }
  int64_t width() const { return info_.image_width; }
  int64_t height() const { return info_.image_height; }

  int64_t file_channels() const {
    return info_.out_color_space == JCS_GRAYSCALE ? 1 : info_.out_color_space == JCS_CMYK ? 4 : 3;
  }

  // Of the saved markers, which libjpeg drops when it has read the pixels.
  int orientation() const {
    for (jpeg_saved_marker_ptr marker = info_.marker_list; marker; marker = marker->next) {
      const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
      if (!data.starts_with(kExifName)) continue;
      return exif_orientation(std::as_bytes(std::span(data)).subspan(kExifName.size()));
    }
    return 1;
  }

 private:
  jpeg_decompress_struct info_{};
  JpegErrors errors_{};
  jpeg_progress_mgr progress_{};
};

// a b / 255, rounded, as Pillow computes it.
uint32_t multiply_255(uint32_t a, uint32_t b) {
  const uint32_t product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

// In place: ink, of which Adobe stores the inverse, to light. Pillow's arithmetic.
void cmyk_to_rgb(std::vector<uint8_t>& pixels) {
  const size_t count = pixels.size() / 4;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t light = pixels[4 * i + 3];
    for (size_t c = 0; c < 3; ++c) {
      const uint32_t dark = multiply_255(255u - pixels[4 * i + c], light);
      pixels[3 * i + c] = static_cast<uint8_t>(light - dark);
    }
  }
  pixels.resize(count * 3);
}

}  // namespace

DecodedImage decode_jpeg(std::span<const std::byte> bytes, std::string_view where,
                         const ImageOptions& options) {
  JpegReader reader;
  if (!reader.read_header(bytes)) fail_damaged(where, "JPEG", reader.message());
  require_pixels(reader.width(), reader.height(), where, options);
  const int orientation = reader.orientation();
  const int64_t channels = reader.file_channels();
  Image image{reader.width(), reader.height(), channels == 4 ? 3 : channels, {}};
  image.pixels.resize(static_cast<size_t>(image.width * image.height * channels));
  if (!reader.read_pixels(image.pixels.data())) fail_damaged(where, "JPEG", reader.message());
  if (channels == 4) cmyk_to_rgb(image.pixels);
  return {std::move(image), orientation};
}

}  // namespace fovea::io
