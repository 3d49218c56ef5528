#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "fovea/nn/attention/attention.h"

namespace fovea::nn {

/// (B, 1, M, 1), true where lengths of keys hide a key; undefined where the call has none. Throws
/// fovea::Error (usage) in the name of `where` unless they are (B) integers.
at::Tensor hidden_keys(const std::string& where, const AttentionInput& input);

/// `t` with `number` where `hidden` says so, whose gradient there is 0; `t` where that is undefined.
at::Tensor filled(const at::Tensor& t, const at::Tensor& hidden, double number);

}  // namespace fovea::nn
