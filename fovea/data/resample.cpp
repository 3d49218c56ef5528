#include "fovea/data/resample.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "fovea/core/error.h"
#include "fovea/data/planes.h"

namespace fovea::data {
namespace {

constexpr int64_t kLargestSide = int64_t{1} << 20;
// 8 bits of pixel, 2 of headroom: sums of weights times pixels stay within 32 bits.
constexpr int kWeightBits = 22;

// How each output position of one axis is made: weights[i * stride ...] over inputs [first[i], first[i] +
// count[i]).
struct Axis {
  std::vector<int32_t> weights;
  std::vector<int64_t> first, count;
  int64_t stride = 0;
};

Axis make_axis(int64_t input, int64_t output) {
  const double scale = static_cast<double>(input) / static_cast<double>(output);
  const double support = std::max(scale, 1.0);  // half the triangle's width, in input pixels
  Axis axis;
  axis.stride = static_cast<int64_t>(std::ceil(support)) * 2 + 1;
  axis.weights.resize(output * axis.stride);
  std::vector<double> triangle(axis.stride);
  for (int64_t i = 0; i < output; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const auto begin = std::max<int64_t>(static_cast<int64_t>(center - support + 0.5), 0);
    const auto end = std::min<int64_t>(static_cast<int64_t>(center + support + 0.5), input);
    double sum = 0;
    for (int64_t x = begin; x < end; ++x) {
      const double distance = std::abs((static_cast<double>(x) - center + 0.5) * (1.0 / support));
      triangle[x - begin] = distance < 1 ? 1 - distance : 0;
      sum += triangle[x - begin];
    }
    for (int64_t k = 0; k < end - begin; ++k) {
      const double weight = sum != 0 ? triangle[k] / sum : 0;
      axis.weights[i * axis.stride + k] = static_cast<int32_t>(0.5 + weight * (1 << kWeightBits));
    }
    axis.first.push_back(begin);
    axis.count.push_back(end - begin);
  }
  return axis;
}

// Weights are positive and their sum is one but for rounding, so only 256 needs to be cut off.
uint8_t to_pixel(int32_t sum) { return static_cast<uint8_t>(std::min(sum >> kWeightBits, 255)); }

constexpr int32_t kHalf = 1 << (kWeightBits - 1);

void resample_row(const uint8_t* in, const Axis& axis, uint8_t* out) {
  const auto width = static_cast<int64_t>(axis.first.size());
  for (int64_t i = 0; i < width; ++i) {
    const int32_t* weights = axis.weights.data() + i * axis.stride;
    const uint8_t* pixels = in + axis.first[i];
    int32_t sum = kHalf;
    for (int64_t k = 0; k < axis.count[i]; ++k) sum += weights[k] * pixels[k];
    out[i] = to_pixel(sum);
  }
}

at::Tensor resample_columns(const Planes& in, int64_t width) {
  const Axis axis = make_axis(in.width, width);
  at::Tensor result = new_image(in.channels, in.height, width);
  auto* out = result.mutable_data_ptr<uint8_t>();
  for (int64_t row = 0; row < in.channels * in.height; ++row) {
    resample_row(in.data + row * in.width, axis, out + row * width);
  }
  return result;
}

// Whole rows are added up, so that memory is read in order and the compiler can use vectors.
at::Tensor resample_rows(const Planes& in, int64_t height) {
  const Axis axis = make_axis(in.height, height);
  at::Tensor result = new_image(in.channels, height, in.width);
  auto* out = result.mutable_data_ptr<uint8_t>();
  std::vector<int32_t> sums(in.width);
  for (int64_t c = 0; c < in.channels; ++c) {
    for (int64_t i = 0; i < height; ++i) {
      std::fill(sums.begin(), sums.end(), kHalf);
      for (int64_t k = 0; k < axis.count[i]; ++k) {
        const int32_t weight = axis.weights[i * axis.stride + k];
        const uint8_t* row = in.plane(c) + (axis.first[i] + k) * in.width;
        for (int64_t x = 0; x < in.width; ++x) sums[x] += weight * row[x];
      }
      for (int64_t x = 0; x < in.width; ++x) *out++ = to_pixel(sums[x]);
    }
  }
  return result;
}

}  // namespace

at::Tensor resize_bilinear(const at::Tensor& image, int64_t height, int64_t width) {
  if (height < 1 || width < 1 || height > kLargestSide || width > kLargestSide) {
    throw usage_error("resize", fmt::format("the new size must be in [1, {}]; found {} x {}.", kLargestSide,
                                            height, width));
  }
  const auto columns = [width](const at::Tensor& x) {
    return x.size(-1) == width ? x : resample_columns(Planes(x), width);
  };
  const auto rows = [height](const at::Tensor& x) {
    return x.size(-2) == height ? x : resample_rows(Planes(x), height);
  };
  const int64_t fewer_rows = image.size(-2) - height, fewer_columns = image.size(-1) - width;
  const bool rows_first = fewer_rows > 0 && fewer_rows > 2 * fewer_columns;
  return rows_first ? columns(rows(image)) : rows(columns(image));
}

}  // namespace fovea::data
