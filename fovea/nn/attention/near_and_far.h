#pragma once
#include <utility>

#include "fovea/nn/attention/engine.h"

namespace fovea::nn {

/// What a pattern of near and far keys may be told beside itself.
template <class Visitor>
void visit_beside_pattern(EngineOptions& o, Visitor& visit) {
  visit_scale(o, visit);
  visit_scores(o, visit);
  visit_block(o, visit);
  visit_normaliser(o, visit);
}

/// A causal pattern of keys that stand together and keys that stand `stride` apart, of which no tile of the
/// kernel is empty. Softmax of plain calls is made over each kind alone, whose keys are put together, and
///   out = out_near + sigmoid(lse_far - lse_near) (out_far - out_near)
/// joins them. Others take the mask of functors().
class NearAndFarAttention : public EngineAttention {
 public:
  NearAndFarAttention(AttentionKind kind, const AttentionShape& shape, const EngineOptions& options,
                      int64_t stride)
      : EngineAttention(std::move(kind), shape, options), stride_(stride) {}

  CausalAlignment causal() const override { return CausalAlignment::top_left; }
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;

 protected:
  AttendResult attend_with(const AttentionInput& input, const AttendOptions& options) const override;

  int64_t stride() const { return stride_; }
  /// (B, H, N, Dv) and lse (B, H, N) over the keys of either kind; `options` hide padding alone.
  virtual AttendResult near(const AttentionInput& input, AttendOptions options) const = 0;
  virtual AttendResult far(const AttentionInput& input, AttendOptions options) const = 0;

 private:
  /// Whether two calls are quicker than one for so many positions.
  bool pays(int64_t length) const { return length > 4 * stride_; }

  int64_t stride_;
};

}  // namespace fovea::nn
