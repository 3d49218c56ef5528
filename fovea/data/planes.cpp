#include "fovea/data/planes.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "fovea/core/error.h"

namespace fovea::data {

Planes::Planes(const at::Tensor& image) {
  const bool right = image.defined() && image.scalar_type() == at::kByte && image.dim() == 3 &&
                     (image.size(0) == 1 || image.size(0) == 3) && image.size(1) > 0 && image.size(2) > 0;
  if (!right) {
    const std::string found = image.defined() ? fmt::format("{} ({})", c10::toString(image.scalar_type()),
                                                            fmt::join(image.sizes(), ", "))
                                              : "no tensor";
    throw usage_error("image",
                      fmt::format("an image must be uint8 (C, H, W) with C = 1 or 3; found {}.", found));
  }
  tensor = image.is_contiguous() ? image : image.contiguous();
  data = tensor.const_data_ptr<uint8_t>();
  channels = tensor.size(0);
  height = tensor.size(1);
  width = tensor.size(2);
}

at::Tensor new_image(int64_t channels, int64_t height, int64_t width) {
  return at::empty({channels, height, width}, at::TensorOptions(at::kByte));
}

}  // namespace fovea::data
