#pragma once
#include <optional>
#include <string_view>

#include "fovea/ops/attend.h"

namespace fovea {

/// Why PyTorch's scaled_dot_product_attention cannot, or shall not, run this call; empty when it can. For
/// tensors that are not on the CPU. Arguments as attend(), which has checked them.
std::optional<std::string_view> why_not_sdpa(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                             const AttendOptions& options);

/// The same wherever the tensors are: what the function has no words for. Where anything is hidden, q, k and
/// v are read, as a NaN or an infinity in what is hidden would spoil its results.
std::optional<std::string_view> why_not_in_sdpa(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                                const AttendOptions& options);

/// attend() by the scaled_dot_product_attention of the device, whose kernels PyTorch chooses. Masks and
/// biases are tensors there: O(N M) memory for each batch entry and head that has its own, but for causal
/// order alone.
AttendResult attend_sdpa(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         const AttendOptions& options);

}  // namespace fovea
