#pragma once
#include <cstddef>
#include <span>

namespace fovea::io {

struct Image;

/// The orientation, 1 to 8, that an EXIF block (a TIFF header and what follows) asks for: tag 0x0112 of its
/// first directory, either byte order. 1, as it is, for a block without one or a malformed block. Never
/// throws. Source: EXIF 2.32, 4.6.4; TIFF 6.0.
int exif_orientation(std::span<const std::byte> tiff) noexcept;

/// Turns and mirrors `image` as `orientation` (1 to 8) says, so that it is upright. O(pixels), one copy
/// unless 1.
void apply_orientation(Image& image, int orientation);

}  // namespace fovea::io
