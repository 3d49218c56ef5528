#pragma once
#include <ATen/core/Tensor.h>

namespace fovea {

/// (B, 1, M, 1), true where lengths (B), integers on any device, hide a key of k (B, Hkv, M, D).
at::Tensor keys_beyond(const at::Tensor& lengths, const at::Tensor& k);

/// t with 0 in the place of hidden keys, which pass no gradient; `hidden` is broadcastable to t, and
/// undefined where there are none.
at::Tensor without_keys(const at::Tensor& t, const at::Tensor& hidden);

}  // namespace fovea
