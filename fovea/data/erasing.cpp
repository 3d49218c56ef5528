#include "fovea/data/erasing.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "fovea/data/affine.h"
#include "fovea/data/planes.h"

namespace fovea::data {

RandomErasing::RandomErasing(const RandomErasingOptions& options) : options_(options) {
  constexpr Range unit{0, 1}, positive{std::numeric_limits<double>::min(), 1e6};
  require_within("random_erasing", "p", options.p, unit);
  require_range("random_erasing", "scale", options.scale, unit);
  require_range("random_erasing", "ratio", options.ratio, positive);
  require_fill("random_erasing", options.value, static_cast<int64_t>(options.value.size()));
}

Region RandomErasing::draw(int64_t height, int64_t width, Random& random) const {
  const auto area = static_cast<double>(height * width);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double erased = area * options_.scale.draw(random), ratio = options_.ratio.draw_log(random);
    const int64_t h = round_half_even(std::sqrt(erased * ratio)),
                  w = round_half_even(std::sqrt(erased / ratio));
    if (h >= height || w >= width) continue;
    const int64_t top = offset_up_to(height - h, random);
    return {top, offset_up_to(width - w, random), h, w};
  }
  return {};
}

at::Tensor RandomErasing::apply(const at::Tensor& image, Random& random) const {
  if (!happens(options_.p, random)) return image;
  const Planes in(image);
  require_fill("random_erasing", options_.value, in.channels);
  const Region region = draw(in.height, in.width, random);
  at::Tensor result = new_image(in.channels, in.height, in.width);
  auto* out = result.mutable_data_ptr<uint8_t>();
  std::copy_n(in.data, in.size(), out);
  for (int64_t c = 0; c < in.channels; ++c) {
    const auto& value = options_.value;
    const auto fill = value.empty() ? uint8_t{0} : static_cast<uint8_t>(value[value.size() == 1 ? 0 : c]);
    for (int64_t y = region.top; y < region.top + region.height; ++y) {
      uint8_t* row = out + (c * in.height + y) * in.width + region.left;
      if (!value.empty()) {
        std::fill_n(row, region.width, fill);
      } else {
        std::generate_n(row, region.width, [&] { return static_cast<uint8_t>(random() & 0xff); });
      }
    }
  }
  return result;
}

nlohmann::json RandomErasing::describe() const {
  const nlohmann::json value =
      options_.value.empty() ? nlohmann::json("random") : nlohmann::json(options_.value);
  return {{"random_erasing",
           {{"p", options_.p},
            {"scale", {options_.scale.low, options_.scale.high}},
            {"ratio", {options_.ratio.low, options_.ratio.high}},
            {"value", value}}}};
}

}  // namespace fovea::data
