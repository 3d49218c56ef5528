#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "fovea/nn/attention/engine.h"
#include "fovea/nn/attention/entry.h"

namespace fovea::nn {

/// How scores learn from keys that were drawn.
enum class HardEstimator { straight_through, reinforce, variational };

/// What stands in the place of a draw once training is over.
enum class HardInference { argmax, sampled, expected };

struct HardOptions : EngineOptions {
  HardEstimator estimator = HardEstimator::straight_through;
  HardInference inference = HardInference::argmax;
  int64_t k = 1;
  double temperature = 1.0, baseline_decay = 0.9, entropy = 0.0;

  template <class Visitor>
  static void fields(HardOptions& o, Visitor&& visit) {
    visit(OptionText{"estimator", "how scores learn: from relaxed weights, or from a reward by loss_term()"},
          o.estimator,
          Choice<HardEstimator>{{"straight_through", HardEstimator::straight_through},
                                {"reinforce", HardEstimator::reinforce},
                                {"variational", HardEstimator::variational}});
    visit(OptionText{"inference", "the likeliest keys, drawn ones, or the expected value: softmax attention"},
          o.inference,
          Choice<HardInference>{{"argmax", HardInference::argmax},
                                {"sampled", HardInference::sampled},
                                {"expected", HardInference::expected}});
    visit(OptionText{"k", "keys that a query draws, without replacement", "Kool et al. 2019, section 2.3"},
          o.k, WholeFrom{1});
    visit(OptionText{"temperature", "of the relaxed weights of straight_through", "Jang et al. 2017, 2.2"},
          o.temperature, NumberAbove{});
    visit(OptionText{"baseline_decay", "of the moving average of rewards, in [0, 1]; 1 is no baseline"},
          o.baseline_decay, AnyNumber{});
    visit(OptionText{"entropy", "what loss_term() adds to rewards for each unit of a draw's entropy"},
          o.entropy, AnyNumber{});
    visit_scale(o, visit);
    visit_softcap(o, visit);
    visit_causal(o, visit);
  }
  void check(const std::string& where) const;
};

/// What the queries of a call drew.
struct HardChoice {
  /// (B, H, N, k), int64, in the order of the draws; -1 where a query saw no more keys.
  at::Tensor keys;
  /// (B, H, N): of these draws in this order; learns. Undefined for straight_through.
  at::Tensor log_probability;
};

/// Hard attention: each query reads k keys, drawn by their softmax, and their values alone.
///   i_1 ... i_k drawn without replacement, p(i_c | those before) = softmax over the keys left of s
///   out = sum_c exp(s_{i_c}) v_{i_c} / sum_c exp(s_{i_c}): the value itself for k = 1, softmax attention for
///   k = M
/// Gradients reach v, and s within the draw. For the draw itself scores learn, while training,
///   straight_through: as if out had been sum_j y_j v_j, y = softmax((s + g) / temperature), g the Gumbel
///     noise that made the draw; k = 1. Biased, less so at low temperatures.
///   reinforce: by loss_term() of any reward that is to grow.
///   variational: by loss_term() of log p(target | draw), whose mean is a bound from below of log p(target).
/// The draw is the largest of s + g; g is a function of the call's seed, or of one of torch's generator, and
/// of (b, h, i, j). Weights are those of the draw; dropout takes draws. Buffer `baseline`, the moving
/// average. Values of keys that were not drawn are not read: O(N k) rows. Scores take O(N M D) time for each
/// draw, and O(N + M) memory.   Source: Show, attend and tell (Xu et al. 2015), 4.1; Gumbel-softmax (Jang et
/// al. 2017), 2.2; Stochastic beams (Kool et al. 2019), 2.3.
class HardAttention : public EngineAttention {
 public:
  HardAttention(AttentionKind kind, const AttentionShape& shape, const HardOptions& options);
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;

  /// Of the last call while training.
  const HardChoice& choice() const { return choice_; }

  /// What is to be added to the loss, with R = `reward` of the last call, (B), or (B, N) of queries by
  /// themselves:   -1/B sum_bhn (R - baseline - entropy log p_bhn) log p_bhn, the first factor a constant,
  /// and of variational also -1/B sum R. Then   baseline <- decay baseline + (1 - decay) mean R. Its mean
  /// gradient is that of the mean of -R, whatever the baseline. Throws fovea::Error (usage) before a call in
  /// training, on another shape, and of straight_through.
  at::Tensor loss_term(const at::Tensor& reward);
  /// Of an earlier call, such as of a decoder that attends once for each word.
  at::Tensor loss_term(const HardChoice& choice, const at::Tensor& reward);

  at::Tensor baseline;

 protected:
  AttentionOutput run(const AttentionInput& input) override;

 private:
  /// (B, H, N) each: the key, -1 where none was left; its score, where it is wanted; the log-sum-exp of the
  /// keys that were left.
  struct Draw {
    at::Tensor key, score, left;
  };
  /// With the weight of each, (B, H, N, k), before dropout.
  struct Draws {
    HardChoice choice;
    at::Tensor weights;
  };
  Draw draw(const AttentionInput& input, AttendOptions options, const at::Tensor& taken) const;
  Draws draws(const AttentionInput& input, const AttendOptions& options) const;
  at::Tensor relaxed(const AttentionInput& input, AttendOptions options) const;
  void check_reward(const HardChoice& choice, const at::Tensor& reward) const;
  bool wants_probability() const;

  HardOptions hard_;
  HardChoice choice_;
};

AttentionEntry hard_attention();

}  // namespace fovea::nn
