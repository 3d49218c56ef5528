#pragma once
#include <optional>

#include "fovea/nn/attention/engine.h"
#include "fovea/nn/attention/entry.h"
#include "fovea/nn/penalty.h"

namespace fovea::nn {

struct HeadGateOptions : EngineOptions {
  double log_alpha = 2.0, beta = 2.0 / 3.0, gamma = -0.1, zeta = 1.1;
  std::optional<double> penalty;

  template <class Visitor>
  static void fields(HeadGateOptions& o, Visitor&& visit) {
    visit(OptionText{"log_alpha", "where the gates start; 2 is open with probability 0.97"}, o.log_alpha,
          AnyNumber{});
    visit(OptionText{"beta", "temperature"}, o.beta, NumberAbove{});
    visit(OptionText{"gamma", "what stretches gates below 0"}, o.gamma, AnyNumber{});
    visit(OptionText{"zeta", "what stretches them above 1"}, o.zeta, NumberAbove{1.0});
    visit(OptionText{"penalty", "nats that training pays for a head whose gate is open; none when left out"},
          o.penalty, NumberAbove{});
    visit_scale(o, visit);
    visit_softcap(o, visit);
    visit_causal(o, visit);
    visit_window(o, visit);
  }
  void check(const std::string& where) const;
};

/// Heads behind gates, of which training closes those that do not pay for themselves: out_h times g_h.
///   training:    s = sigmoid((log u - log(1 - u) + log_alpha_h) / beta), u uniform, one of all batch entries
///   evaluation:  s = sigmoid(log_alpha_h)
///   g_h = clamp(s (zeta - gamma) + gamma, 0, 1)
/// Parameter `log_alpha` (H). A head whose gate is 0 is not computed, but where weights or observations are
/// asked for or sequences stand behind each other; weights and observations are those of the heads, without
/// gates.   Source: L0 regularization (Louizos et al. 2018), section 2.2; of heads: Voita et al. 2019,
/// Analyzing multi-head self-attention, section 6.
class HeadGateAttention : public EngineAttention, public Penalised {
 public:
  HeadGateAttention(AttentionKind kind, const AttentionShape& shape, const HeadGateOptions& options);
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;

  /// (H): drawn while training, by torch's generator.
  at::Tensor gates() const;
  /// The expected number of open gates, sum_h sigmoid(log_alpha_h - beta log(-gamma / zeta)). The penalty
  /// that the option asks for is that many nats times this.
  at::Tensor l0_penalty() const;

  at::Tensor log_alpha;

 protected:
  AttentionOutput run(const AttentionInput& input) override;

 private:
  AttentionOutput run_open(const AttentionInput& input, const at::Tensor& gates, const at::Tensor& open);

  double beta_, gamma_, zeta_;
  std::optional<double> penalty_;
};

AttentionEntry head_gate_attention();

}  // namespace fovea::nn
