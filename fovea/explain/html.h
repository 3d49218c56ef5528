#pragma once
#include <string>
#include <string_view>

#include "fovea/io/image.h"

namespace fovea::explain {

/// `text` safe inside an HTML element or a quoted attribute: & < > " ' become references, control characters
/// other than tab and newline become U+FFFD.
std::string escape_html(std::string_view text);

/// RFC 4648 base64 with padding.
std::string base64(std::string_view bytes);

/// `data:image/png;base64,...` of the image.
std::string data_uri(const io::Image& image);

/// `value` with `digits` significant digits, always with a decimal point and without a locale: 0.0312, 12.5,
/// 3e-05. Not a number prints as "nan".
std::string short_number(double value, int digits = 3);

}  // namespace fovea::explain
