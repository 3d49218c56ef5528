// What image.cpp and the files of the single formats share; not for users.
#pragma once
#include <string>
#include <string_view>

#include "fovea/io/image.h"

namespace fovea::io {

/// Pixels as the file stores them (1 or 3 channels), and what its EXIF block says about turning them.
struct DecodedImage {
  Image image;
  int orientation = 1;
};

DecodedImage decode_jpeg(std::span<const std::byte> bytes, std::string_view where,
                         const ImageOptions& options);
DecodedImage decode_png(std::span<const std::byte> bytes, std::string_view where,
                        const ImageOptions& options);

/// Throws data_error if the image has more pixels than the options allow.
void require_pixels(int64_t width, int64_t height, std::string_view where, const ImageOptions& options);

/// A damaged or truncated file: data_error with the decoder's words.
[[noreturn]] void fail_damaged(std::string_view where, std::string_view format, std::string_view reason);

}  // namespace fovea::io
