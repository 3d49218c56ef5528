#include "fovea/nn/attention/linformer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/einsum.h>
#include <ATen/ops/randn.h>

#include <cmath>
#include <utility>

#include "fovea/core/error.h"
#include "fovea/nn/attention/key_counts.h"
#include "fovea/ops/hidden_keys.h"

namespace fovea::nn {
namespace {

// E^T rows: (B, Hkv, M, D) -> (B, Hkv, rank, D).
at::Tensor projected(const at::Tensor& matrix, const at::Tensor& rows) {
  const at::Tensor first = matrix.narrow(-2, 0, rows.size(2)).to(rows.scalar_type());
  return at::einsum(matrix.dim() == 2 ? "mr,bhmd->bhrd" : "hmr,bhmd->bhrd", {first, rows});
}

}  // namespace

void LinformerOptions::check(const std::string& where) const {
  if (rank <= length) return;
  throw usage_error(where, "rank must be at most length",
                    std::to_string(rank) + " of " + std::to_string(length), "Choose fewer.");
}

LinformerAttention::LinformerAttention(AttentionKind kind, const AttentionShape& shape,
                                       const LinformerOptions& options)
    : Attention(std::move(kind), shape), options_(options) {
  const auto drawn = [&] {
    const at::Tensor all = options.sharing == LinformerSharing::none
                               ? at::randn({shape.kv_heads, options.length, options.rank})
                               : at::randn({options.length, options.rank});
    return all / std::sqrt(static_cast<double>(options.length));
  };
  E = register_parameter("E", drawn());
  if (options.sharing != LinformerSharing::key_value) F = register_parameter("F", drawn());
}

AttentionOutput LinformerAttention::run(const AttentionInput& input) {
  const int64_t keys = input.k.size(2);
  if (keys > options_.length) {
    refuse("there must be at most length = " + std::to_string(options_.length) +
               " keys, as a position beyond has no row in E and F",
           std::to_string(keys), "Choose a greater length.");
  }
  const at::Tensor hidden = hidden_keys(mechanism(), input);
  const at::Tensor k = without_keys(input.k, hidden), v = without_keys(input.v, hidden);
  return {attend(input.q, projected(E, k), projected(F.defined() ? F : E, v)).out, {}, {}};
}

AttentionCost LinformerAttention::cost(int64_t n, int64_t m, int64_t d) const {
  // Projected rows, and as the kernel reads them. Rows that lie as the projection wants them go before the
  // result.
  return {2 * (n + m) * options_.rank * d, 4 * options_.rank * d * kFloatBytes};
}

AttentionEntry linformer_attention() {
  return attention_entry<LinformerAttention>(
      {"linformer", "out_i = sum_r softmax_r(q_i . (E^T k)_r / sqrt(D)) (F^T v)_r",
       "Wang et al. 2020, section 4", "O((N + M) R D) time, R rows, O(R D) memory", "fused"},
      {.causal_ok = false,
       .takes_masks = false,
       .takes_biases = false,
       .gives_weights = false,
       .observes = false,
       .takes_packed = false},
      LinformerOptions{});
}

}  // namespace fovea::nn
