#include "fovea/nn/attention/entmax.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/sigmoid.h>

#include <cmath>
#include <utility>

#include "fovea/core/error.h"

namespace fovea::nn {

void EntmaxOptions::check(const std::string& where) const {
  EngineOptions::check(where);
  if (alpha > 2.0 || (learned && alpha == 2.0)) {
    throw usage_error(where, learned ? "alpha must be below 2 to learn" : "alpha must be at most 2",
                      shown(alpha), "2 is sparsemax.");
  }
}

EntmaxAttention::EntmaxAttention(AttentionKind kind, const AttentionShape& shape,
                                 const EntmaxOptions& options)
    : EngineAttention(std::move(kind), shape, options), alpha_(options.alpha) {
  if (!options.learned) return;
  const double start = std::log((alpha_ - 1.0) / (2.0 - alpha_));
  pre_alpha = register_parameter("pre_alpha", at::full({shape.heads}, start));
}

void EntmaxAttention::prepare(AttentionInput&, AttendOptions& options) const {
  Entmax entmax{alpha_};
  if (pre_alpha.defined()) entmax.alpha = at::sigmoid(pre_alpha) + 1.0;
  options.normaliser = entmax;
}

AttentionCost EntmaxAttention::cost(int64_t n, int64_t m, int64_t d) const {
  AttentionCost cost = EngineAttention::cost(n, m, d);
  // Scores and powers of all pairs in float64, and which exceed the threshold.
  if (alpha_ != 1.5 || pre_alpha.defined()) cost.bytes = 8 * n * m * static_cast<int64_t>(sizeof(double));
  return cost;
}

AttentionEntry entmax_attention() {
  return attention_entry<EntmaxAttention>(
      {"entmax",
       "out_i = sum_j max((alpha - 1) s_ij - tau_i, 0)^(1 / (alpha - 1)) v_j, weights that sum to 1",
       "Peters et al. 2019, algorithm 2; learned alpha: Correia et al. 2019, section 3",
       "O(N M (D + log M)) time, O(N M) memory", "composed"},
      {.takes_relative_keys = true, .observes = false}, EntmaxOptions{});
}

}  // namespace fovea::nn
