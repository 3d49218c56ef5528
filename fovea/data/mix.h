#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "fovea/core/random.h"

namespace fovea::data {

/// A rectangle of pixels: rows [top, bottom), columns [left, right).
struct Box {
  int64_t top = 0, left = 0, bottom = 0, right = 0;
};

/// A draw from Beta(alpha, alpha), alpha > 0, in [0, 1]. Gamma variates in log space, so that small alphas do
/// not underflow to 0/0. Source: Marsaglia and Tsang, A simple method for generating gamma variables (2000).
double sample_beta(double alpha, Random& random);

/// float32 (B, classes): 1 at each label. Labels: int64 (B) in [0, classes), else Error (usage).
at::Tensor one_hot_targets(const at::Tensor& labels, int64_t classes);

/// Mixes every row with the one before it (the first with the last), in place: x_i <- l x_i + (1 - l)
/// x_{i-1}. rows: float32, contiguous, of any shape (B, ...). Source: mixup (Zhang et al. 2018), equation 1;
/// pairs as in torchvision.transforms.v2.MixUp.
void mix_rows(at::Tensor& rows, double lambda);

/// Puts the box of each image's predecessor (the last one's for the first) into it, in place.
/// images: float32 (B, C, H, W), contiguous. Source: CutMix (Yun et al. 2019), equation 1.
void paste_box(at::Tensor& images, const Box& box);

/// The box of CutMix: its centre uniform in the image, sides sqrt(1 - lambda) of the image's, cut at the
/// borders. Source: CutMix, equation 2.
Box cutmix_box(int64_t height, int64_t width, double lambda, Random& random);

/// Which mixing is done, and how strongly; an alpha of 0 means not at all.
struct MixOptions {
  double mixup_alpha = 0, cutmix_alpha = 0;
  int64_t num_classes = 0;
};

/// Mixes a batch in place by mixup or CutMix (a fair coin when both are on) with lambda ~ Beta(alpha, alpha),
/// one a batch; CutMix's lambda is then the share of pixels kept. Returns the targets: float32 (B,
/// num_classes), lambda onehot(y_i) + (1 - lambda) onehot(y_{i-1}), rows sum to 1.
at::Tensor mix_batch(at::Tensor& images, const at::Tensor& labels, const MixOptions& options, Random& random);

}  // namespace fovea::data
