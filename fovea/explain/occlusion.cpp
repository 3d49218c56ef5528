#include "fovea/explain/occlusion.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "fovea/core/error.h"

namespace fovea::explain {
namespace {

// Upper edges 0, stride, 2 stride, ... and the one that ends at the edge.
std::vector<int64_t> starts(int64_t size, int64_t window, int64_t stride) {
  std::vector<int64_t> out;
  for (int64_t at = 0; at + window < size; at += stride) out.push_back(at);
  out.push_back(size - window);
  return out;
}

at::Tensor square(const at::Tensor& image, const std::array<int64_t, 2>& corner, int64_t window) {
  return image.narrow(-2, corner[0], window).narrow(-1, corner[1], window);
}

}  // namespace

Explainer::Attribution Occlusion::attribute(models::ImageNetwork& network, const at::Tensor& image,
                                            int64_t target) const {
  const int64_t height = image.size(2), width = image.size(3), shorter = std::min(height, width);
  const int64_t window = options_.window > 0 ? options_.window : std::max<int64_t>(1, shorter / 4);
  const int64_t stride = options_.stride > 0 ? options_.stride : std::max<int64_t>(1, window / 2);
  if (window > shorter || stride > window) {
    throw usage_error("occlusion",
                      fmt::format("stride <= window <= the image's shorter side, {}; found stride {}, "
                                  "window {}.",
                                  shorter, stride, window));
  }
  std::vector<std::array<int64_t, 2>> corners;
  for (const int64_t y : starts(height, window, stride)) {
    for (const int64_t x : starts(width, window, stride)) corners.push_back({y, x});
  }
  const at::NoGradGuard no_grad;
  const double whole = network.forward(image)[0][target].item<double>();
  at::Tensor fall = at::zeros({height, width}, at::kFloat), count = at::zeros_like(fall);
  for (size_t start = 0; start < corners.size(); start += options_.batch_size) {
    const size_t n = std::min<size_t>(options_.batch_size, corners.size() - start);
    const at::Tensor covered = image.repeat({static_cast<int64_t>(n), 1, 1, 1});
    for (size_t i = 0; i < n; ++i) {
      square(covered[static_cast<int64_t>(i)], corners[start + i], window).fill_(options_.baseline);
    }
    const at::Tensor scores = network.forward(covered).select(1, target).to(at::kCPU, at::kDouble);
    for (size_t i = 0; i < n; ++i) {
      const double lost = whole - scores[static_cast<int64_t>(i)].item<double>();
      square(fall, corners[start + i], window).add_(lost);
      square(count, corners[start + i], window).add_(1);
    }
  }
  return {fall / count, /*from_zero=*/true, "", std::nullopt};
}

}  // namespace fovea::explain
