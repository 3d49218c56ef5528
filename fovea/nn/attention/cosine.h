#pragma once
#include "fovea/nn/attention/engine.h"
#include "fovea/nn/attention/entry.h"

namespace fovea::nn {

struct CosineOptions : EngineOptions {
  double start = 10.0;
  bool learned = true;

  template <class Visitor>
  static void fields(CosineOptions& o, Visitor&& visit) {
    visit(OptionText{"scale", "s_ij = scale cos(q_i, k_j); where it starts if learned"}, o.start,
          NumberAbove{});
    visit(OptionText{"learned", "a scale for each head as parameter logit_scale, at most 100"}, o.learned);
    ScoreFreeOptions::fields(o, visit);
  }
  void check(const std::string& where) const;
};

/// s_ij = exp(min(logit_scale_h, ln 100)) q_i . k_j / (|q_i| |k_j|)
/// Parameter `logit_scale` (H, 1, 1), as Swin v2 has it, unless learned=false.   Source: Swin Transformer V2
/// (Liu et al. 2022), 3.3.
class CosineAttention : public EngineAttention {
 public:
  CosineAttention(AttentionKind kind, const AttentionShape& shape, const CosineOptions& options);
  /// With the normalised q and k.
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;

  at::Tensor logit_scale;

 protected:
  void prepare(AttentionInput& input, AttendOptions& options) const override;

 private:
  double start_;
};

AttentionEntry cosine_attention();

}  // namespace fovea::nn
