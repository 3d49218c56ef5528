#include "fovea/data/mix.h"

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "fovea/core/error.h"

namespace fovea::data {
namespace {

// The logarithm of a Gamma(shape, 1) variate. Below shape 1 by G(a) = G(a + 1) U^(1/a), whose power
// underflows.
double log_gamma_variate(double shape, Random& random) {
  if (shape < 1) {
    const double u = 1.0 - random.uniform();
    return log_gamma_variate(shape + 1, random) + std::log(u) / shape;
  }
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = random.normal(), t = 1 + c * x, u = 1.0 - random.uniform();
    if (t <= 0) continue;
    const double v = t * t * t;
    if (std::log(u) < x * x / 2 + d - d * v + d * std::log(v)) return std::log(d * v);
  }
}

struct Rows {
  float* data;
  int64_t count, length;

  explicit Rows(at::Tensor& tensor) : count(tensor.size(0)), length(0) {
    if (tensor.scalar_type() != at::kFloat || !tensor.is_contiguous()) {
      throw usage_error("mix", "what is mixed must be a contiguous float32 tensor (B, ...).");
    }
    data = tensor.mutable_data_ptr<float>();
    length = count == 0 ? 0 : tensor.numel() / count;
  }
  float* row(int64_t i) const { return data + i * length; }
};

// Walks the rows from the last to the first, so that each still finds its predecessor unchanged; the first is
// given a copy of what the last was. visit(own, predecessor).
template <class Visit>
void for_each_pair(const Rows& rows, Visit visit) {
  if (rows.count == 0) return;
  const std::vector<float> last(rows.row(rows.count - 1), rows.row(rows.count));
  for (int64_t i = rows.count - 1; i > 0; --i) visit(rows.row(i), static_cast<const float*>(rows.row(i - 1)));
  visit(rows.row(0), last.data());
}

}  // namespace

double sample_beta(double alpha, Random& random) {
  if (!(alpha > 0) || !std::isfinite(alpha)) {
    throw usage_error("mix", fmt::format("alpha must be positive and finite; found {}.", alpha));
  }
  const double x = log_gamma_variate(alpha, random), y = log_gamma_variate(alpha, random);
  return 1 / (1 + std::exp(y - x));
}

at::Tensor one_hot_targets(const at::Tensor& labels, int64_t classes) {
  at::Tensor targets = at::zeros({labels.size(0), classes}, at::TensorOptions(at::kFloat));
  const int64_t* label = labels.const_data_ptr<int64_t>();
  auto* out = targets.mutable_data_ptr<float>();
  for (int64_t i = 0; i < labels.size(0); ++i) {
    if (label[i] < 0 || label[i] >= classes) {
      throw usage_error("mix", fmt::format("labels must be in [0, {}); found {}.", classes, label[i]));
    }
    out[i * classes + label[i]] = 1;
  }
  return targets;
}

void mix_rows(at::Tensor& rows, double lambda) {
  const Rows all(rows);
  const auto own_part = static_cast<float>(lambda), other_part = static_cast<float>(1 - lambda);
  for_each_pair(all, [&](float* own, const float* other) {
    for (int64_t i = 0; i < all.length; ++i) own[i] = own_part * own[i] + other_part * other[i];
  });
}

void paste_box(at::Tensor& images, const Box& box) {
  const Rows all(images);
  const int64_t channels = images.size(1), height = images.size(2), width = images.size(3);
  for_each_pair(all, [&](float* own, const float* other) {
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t y = box.top; y < box.bottom; ++y) {
        const int64_t row = (c * height + y) * width;
        std::copy(other + row + box.left, other + row + box.right, own + row + box.left);
      }
    }
  });
}

Box cutmix_box(int64_t height, int64_t width, double lambda, Random& random) {
  const auto x = static_cast<int64_t>(random.below(width)), y = static_cast<int64_t>(random.below(height));
  const double half = 0.5 * std::sqrt(1 - lambda);
  const auto half_width = static_cast<int64_t>(half * static_cast<double>(width));
  const auto half_height = static_cast<int64_t>(half * static_cast<double>(height));
  return {std::max<int64_t>(y - half_height, 0), std::max<int64_t>(x - half_width, 0),
          std::min(y + half_height, height), std::min(x + half_width, width)};
}

at::Tensor mix_batch(at::Tensor& images, const at::Tensor& labels, const MixOptions& options,
                     Random& random) {
  at::Tensor targets = one_hot_targets(labels, options.num_classes);
  const bool both = options.mixup_alpha > 0 && options.cutmix_alpha > 0;
  const bool cut = both ? random.below(2) == 1 : options.cutmix_alpha > 0;
  double lambda = 1;
  if (cut) {
    const int64_t height = images.size(2), width = images.size(3);
    const Box box = cutmix_box(height, width, sample_beta(options.cutmix_alpha, random), random);
    paste_box(images, box);
    const auto pasted = static_cast<double>((box.bottom - box.top) * (box.right - box.left));
    lambda = 1 - pasted / static_cast<double>(height * width);
  } else if (options.mixup_alpha > 0) {
    lambda = sample_beta(options.mixup_alpha, random);
    mix_rows(images, lambda);
  }
  mix_rows(targets, lambda);
  return targets;
}

}  // namespace fovea::data
