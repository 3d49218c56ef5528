#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace fovea::registered {

/// Throws Error (usage), in the name of `where`, when heads of q share those of `keys`, which the schema
/// calls `name`: in Python, as in PyTorch, one asks for that by enable_gqa, while the C++ operators group
/// heads whenever they divide. Tensors of other dimensions than `dims` are theirs to refuse.
void require_own_heads(const char* where, const at::Tensor& q, const at::Tensor& keys, const char* name,
                       int64_t dims);

}  // namespace fovea::registered
