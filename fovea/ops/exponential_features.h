#pragma once
#include <ATen/core/Tensor.h>

namespace fovea {

/// Positive random features of rows x (B, H, N, D), as softmax's weights want them.
///   phi(x)_r = exp(w_r . s x - |s x|^2 / 2 - c)
/// `directions` w (R, D), of x's type; s is `scale`. c, without gradient, keeps exponentials from
/// overflowing. On a CPU in float32 one kernel, in which features are 0 below e^-87.3, unless directions need
/// a gradient. Throws c10::Error on shapes that do not fit. O(B H N R D) time, O(B H N R) memory. Source:
/// Choromanski et al. 2021, Rethinking attention with Performers, 2.3, Lemma 1.

/// c is the largest power of each row, and |s x|^2 / 2 with it: (B, H, N, R).
at::Tensor query_exponentials(const at::Tensor& x, const at::Tensor& directions, double scale);

struct KeyExponentials {
  /// (B, H, N, R)
  at::Tensor features;
  /// c, (B, H, 1, 1).
  at::Tensor largest;
};

/// c is the largest finite power of each head, 0 where there is none, and `least` (B, H, 1, 1) where that is
/// larger. Rows where `hidden` is true are 0 and have no part in c. `hidden`, broadcastable to (B, H, N, 1),
/// and `least` may be undefined.
KeyExponentials key_exponentials(const at::Tensor& x, const at::Tensor& directions, double scale,
                                 const at::Tensor& hidden, const at::Tensor& least);

}  // namespace fovea
