#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "fovea/ops/attend.h"

namespace fovea {

/// One of normaliser_names().
const char* normaliser_name(const AttendNormaliser& normaliser);

/// softmax, softmax_sink, sigmoid, sparsemax, entmax15: as users write them.
std::vector<std::string> normaliser_names();

/// The normaliser of that name, as it is when nothing more is said. Throws Error (usage), naming the nearest,
/// when there is none.
AttendNormaliser find_normaliser(const std::string& name);

/// Whether a query's weights divide by a sum of exponentials, whose logarithm attend() can return.
bool has_lse(const AttendNormaliser& normaliser);

/// The scores of a sink that stand in a tensor.
std::optional<at::Tensor> sinks_of(const AttendOptions& options);

/// The alphas of entmax that stand in a tensor.
std::optional<at::Tensor> alphas_of(const AttendOptions& options);

/// What a sigmoid adds to the scores of so many keys.
double sigmoid_bias(const Sigmoid& sigmoid, int64_t keys);

/// Sparsemax and entmax-1.5 sort rows of so many keys whole, and the highest scores of longer ones.
inline constexpr int64_t kSortedWhole = 512;

/// Scores (B, H, N, M) to weights of the same shape: the definition of AttendNormaliser, with gradients of
/// any order. `allowed`, boolean and broadcastable to the scores, is true where a pair may attend; undefined:
/// all. Keys that are hidden have weight 0, rows without any key too, and pass no gradient, NaN and infinity
/// included; of an alpha of entmax other than the number 1.5, of the first three orders. O(B H N M),
/// sparsemax and entmax O(B H N M log M).
at::Tensor normalise(const AttendNormaliser& normaliser, const at::Tensor& scores, const at::Tensor& allowed);

/// (B, H, N), the log-sum-exp of each row and its sink, for normalisers that have one; -inf where a query
/// sees neither. Arguments as normalise().
at::Tensor log_sum_exp(const AttendNormaliser& normaliser, const at::Tensor& scores,
                       const at::Tensor& allowed);

}  // namespace fovea
