#pragma once
#include "fovea/nn/attention/engine.h"
#include "fovea/nn/attention/entry.h"

namespace fovea::nn {

struct EntmaxOptions : EngineOptions {
  double alpha = 1.5;
  bool learned = false;

  EntmaxOptions() { normaliser = "entmax15"; }
  template <class Visitor>
  static void fields(EntmaxOptions& o, Visitor&& visit) {
    visit(OptionText{"alpha",
                     "above 1, which would be softmax, to 2, which is sparsemax; where it starts if learned, "
                     "then below 2"},
          o.alpha, NumberAbove{1.0});
    visit(OptionText{"learned", "an alpha for each head, 1 + sigmoid of the parameter pre_alpha",
                     "Correia et al. 2019, Adaptively sparse transformers, section 3"},
          o.learned);
    visit_scale(o, visit);
    visit_scores(o, visit);
    visit_causal(o, visit);
    visit_window(o, visit);
  }
  void check(const std::string& where) const;
};

/// Scaled dot products whose weights of low scores are exactly 0, see Entmax.
///   out_i = sum_j max((alpha_h - 1) s_ij - tau_i, 0)^(1 / (alpha_h - 1)) v_j, weights that sum to 1
/// Parameter `pre_alpha` (H) with learned=true: alpha_h = 1 + sigmoid(pre_alpha_h).   Source: Peters et al.
/// 2019, Sparse sequence-to-sequence models; Correia et al. 2019, Adaptively sparse transformers, section 3.
class EntmaxAttention : public EngineAttention {
 public:
  EntmaxAttention(AttentionKind kind, const AttentionShape& shape, const EntmaxOptions& options);
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;

  at::Tensor pre_alpha;

 protected:
  void prepare(AttentionInput& input, AttendOptions& options) const override;

 private:
  double alpha_;
};

AttentionEntry entmax_attention();

}  // namespace fovea::nn
