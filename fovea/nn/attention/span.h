#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "fovea/nn/attention/engine.h"
#include "fovea/nn/attention/entry.h"
#include "fovea/nn/layers.h"
#include "fovea/nn/penalty.h"
#include "fovea/ops/span_functors.h"

// What mechanisms with learned spans have in common.

namespace fovea::nn {

/// S, R, and the part of S that spans start with.
struct SpanOptions : EngineOptions {
  int64_t span = 1024, ramp = 32;
  double init = 0.5;
  std::optional<double> penalty;

  template <class Visitor>
  static void fields(SpanOptions& o, Visitor&& visit) {
    visit(OptionText{"span", "S, the longest span"}, o.span, WholeFrom{1});
    visit(OptionText{"ramp", "R, over so many positions weights fall from 1 to 0"}, o.ramp, WholeFrom{1});
    visit(OptionText{"init", "the part of S that spans start with, below 1 where a row predicts them"},
          o.init, NumberAbove{});
    visit(OptionText{"penalty",
                     "nats that training pays for spans of S, for shorter ones less; none when left out"},
          o.penalty, NumberAbove{});
    visit_scale(o, visit);
    visit_softcap(o, visit);
  }
  void check(const std::string& where) const;
};

/// Options of spans that are S sigmoid of something.
struct PredictedSpanOptions : SpanOptions {
  void check(const std::string& where) const;
};

/// Weights times a soft mask of learned spans, summed to 1 again:
///   m_ij = clamp((R + span - |i - j|) / R, 0, 1),   out_i = sum_j m_ij exp(s_ij) v_j / sum_l m_il exp(s_il)
/// Of one sequence. Keys with m_ij = 0 are hidden, and what tiles of the kernel they fill is left out.
/// Source: Adaptive attention span in transformers (Sukhbaatar et al. 2019), equations 2 and 3.
class SpanAttention : public EngineAttention, public Penalised {
 public:
  SpanAttention(AttentionKind kind, const AttentionShape& shape, const SpanOptions& options, SpanOf of);
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;

  /// (B|1, H|1, T|1), in positions, differentiable; of rows x (B, T, E) where they predict spans.
  virtual at::Tensor spans(const at::Tensor& x) const = 0;
  /// The mean of spans(x). The penalty that the option asks for is that many nats times this / S.
  at::Tensor span_loss(const at::Tensor& x) const { return spans(x).mean(); }

 protected:
  AttentionOutput run(const AttentionInput& input) override;
  void prepare(AttentionInput& input, AttendOptions& options) const override;
  int64_t pairs(int64_t n, int64_t m) const override;

  /// Of a head whose keys are at most so far away, exclusive.
  int64_t pairs_within(double reach, int64_t n, int64_t m) const;

  /// A layer (E -> `spans`) that gives every row the part `init` of S.
  Linear predictor(int64_t spans, double init) const;
  /// S sigmoid(layer(x)), (B, spans, T), in float32 at least.
  at::Tensor predicted(const Linear& layer, const at::Tensor& x) const;

  int64_t span_, ramp_;

 private:
  SpanOf of_;
  std::optional<double> penalty_;
};

}  // namespace fovea::nn
