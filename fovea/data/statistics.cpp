#include "fovea/data/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "fovea/core/error.h"

namespace fovea::data {
namespace {

struct Sums {
  uint64_t sum = 0, square = 0, count = 0;

  void add(const uint8_t* pixels, int64_t n) {
    uint64_t s = 0, q = 0;
    for (int64_t i = 0; i < n; ++i) {
      const uint32_t x = pixels[i];
      s += x;
      q += x * x;
    }
    sum += s;
    square += q;
    count += static_cast<uint64_t>(n);
  }
};

void add_image(const Dataset& dataset, int64_t index, std::vector<Sums>& channels) {
  const auto add = [&](const uint8_t* pixels, int64_t area) {
    for (size_t c = 0; c < channels.size(); ++c) channels[c].add(pixels + c * area, area);
  };
  const auto shape = dataset.image_shape();
  if (const uint8_t* pixels = dataset.pixels(index)) return add(pixels, shape[1] * shape[2]);
  const at::Tensor image = dataset.get(index).image.contiguous();
  if (image.size(0) != static_cast<int64_t>(channels.size())) {
    throw data_error("statistics", fmt::format("{}: every image must have {} channels; found {}.",
                                               dataset.describe(index), channels.size(), image.size(0)));
  }
  add(image.const_data_ptr<uint8_t>(), image.size(1) * image.size(2));
}

}  // namespace

DataStatistics compute_statistics(const Dataset& dataset, int64_t max_images) {
  const int64_t total = dataset.size();
  if (total == 0) throw data_error("statistics", "the data set must hold at least one image; found none.");
  const bool all = max_images <= 0 || dataset.pixels(0) != nullptr;
  const int64_t n = all ? total : std::min(total, max_images);
  std::vector<Sums> channels(dataset.image_shape()[0]);
  for (int64_t i = 0; i < n; ++i) add_image(dataset, i * total / n, channels);

  DataStatistics statistics;
  for (const Sums& sums : channels) {
    const double count = static_cast<double>(sums.count) * 255.0;
    const double mean = static_cast<double>(sums.sum) / count;
    const double variance = static_cast<double>(sums.square) / (count * 255.0) - mean * mean;
    statistics.mean.push_back(mean);
    // Below this a channel holds one value: the smallest true variance of n pixels is about 1 / (255^2 n).
    statistics.std.push_back(variance > 1e-14 ? std::sqrt(variance) : 1.0);
  }
  return statistics;
}

DataStatistics imagenet_statistics() { return {{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}}; }

}  // namespace fovea::data
