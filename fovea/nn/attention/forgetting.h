#pragma once
#include "fovea/nn/attention/engine.h"
#include "fovea/nn/attention/entry.h"
#include "fovea/nn/layers.h"

namespace fovea::nn {

struct ForgettingOptions : EngineOptions {
  ForgettingOptions() { causal = CausalAlignment::top_left; }

  template <class Visitor>
  static void fields(ForgettingOptions& o, Visitor&& visit) {
    visit_scale(o, visit);
    visit_softcap(o, visit);
  }
};

/// Attention that forgets: each position lets a part f of what was before it through, per head.
///   f_t = sigmoid(w_h . x_t + b_h),   out_i = sum_{j <= i} softmax_j(s_ij + sum_{l = j+1 ... i} log f_l) v_j
/// Always in causal order, of one sequence. The layer `f_proj` (E -> H) holds w and b. Sums of logarithms are
/// taken in float64, and their differences in the kernel. A gate counts though its key is hidden.   Source:
/// Forgetting Transformer (Lin et al. 2025), section 3.
class ForgettingAttention : public EngineAttention {
 public:
  ForgettingAttention(AttentionKind kind, const AttentionShape& shape, const ForgettingOptions& options);
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;

  Linear f_proj{nullptr};

 protected:
  void prepare(AttentionInput& input, AttendOptions& options) const override;
};

AttentionEntry forgetting_attention();

}  // namespace fovea::nn
