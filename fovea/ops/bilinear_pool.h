#pragma once
#include <ATen/core/Tensor.h>

namespace fovea {

/// Bilinear pooling: which channels of two feature maps fire together, wherever.
///   p_cd = sum_hw a_chw b_dhw   s = p / sqrt(|p| + eps)   out = s / sqrt(sum s^2 + eps),   eps = 1e-8
/// a (B, C, H, W), b (B, D, H, W) -> (B, C D), of length 1 but for eps. s is the signed square root,
/// sign(p) sqrt(|p|), within eps / (2 |p|) of it, with the slope 1 / sqrt(eps) in the place of infinity at 0,
/// where many features of a ReLU lie. Computes in float32 at least.   Throws fovea::Error (usage) unless both
/// are (B, ., H, W) floating point numbers of one type, device, batch size and height and width. O(B C D H W)
/// time. Source: Bilinear CNN Models for Fine-grained Visual Recognition (Lin et al. 2015), 2.1 and 3.1.
at::Tensor bilinear_pool(const at::Tensor& a, const at::Tensor& b);

}  // namespace fovea
