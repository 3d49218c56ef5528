#pragma once
#include "fovea/mods/centre.h"
#include "fovea/nn/attention/engine.h"
#include "fovea/nn/attention/entry.h"

namespace fovea::nn {

struct LocalPOptions : EngineOptions {
  int64_t reach = 10;

  template <class Visitor>
  static void fields(LocalPOptions& o, Visitor&& visit) {
    visit(OptionText{"window", "keys on either side of the predicted centre; sigma is half of it"}, o.reach,
          WholeFrom{1});
    visit_scale(o, visit);
    visit_scores(o, visit);
    visit_causal(o, visit);
  }
};

/// Local attention around a centre that each query predicts.
///   p_i = S sigmoid(v_p . tanh(W_p q_i)), S the number of keys
///   out_i = sum_j softmax_j(s_ij) exp(-(j - p_i)^2 / (2 sigma^2)) v_j over |j - p_i| <= window
/// Parameters `W_p` (H, D, D) and `v_p` (H, D), normal of deviation 1 / sqrt(D). The Gaussian multiplies the
/// weights, as in the paper: they do not sum to 1. No observation but weights.   Source: Luong et al.
/// 2015, 3.2 (local-p), equations 9 and 10.
class LocalPAttention : public EngineAttention {
 public:
  LocalPAttention(AttentionKind kind, const AttentionShape& shape, const LocalPOptions& options);
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;

  at::Tensor W_p, v_p;

 protected:
  AttentionOutput run(const AttentionInput& input) override;

 private:
  /// (B, H, N)
  at::Tensor centres(const AttentionInput& input) const;
  /// The call's options and the mechanism's, but for the window.
  AttendOptions beside_centres(const AttentionInput& input) const;
  AttentionOutput around(const AttentionInput& input, const at::Tensor& centres, AttendOptions options,
                         CentreOrder order) const;

  int64_t window_;
};

AttentionEntry local_p_attention();

}  // namespace fovea::nn
