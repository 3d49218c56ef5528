#pragma once
#include <optional>

#include "fovea/nn/attention/engine.h"
#include "fovea/nn/attention/entry.h"

namespace fovea::nn {

struct GaussianOptions : EngineOptions {
  std::optional<double> width;
  bool learned = true;

  template <class Visitor>
  static void fields(GaussianOptions& o, Visitor&& visit) {
    visit(OptionText{"width",
                     "s_ij = -|q_i - k_j|^2 / (2 width^2), D^(1/4) when left out; where it starts if "
                     "learned"},
          o.width, NumberAbove{});
    visit(OptionText{"learned", "a width for each head, exp of the parameter log_width"}, o.learned);
    ScoreFreeOptions::fields(o, visit);
  }
};

/// s_ij = -|q_i - k_j|^2 / (2 width_h^2), the Nadaraya-Watson estimate of each head.
/// Parameter `log_width` (H) unless learned=false. D^(1/4) gives products the factor 1 / sqrt(D) of the
/// scaled dot product.   Source: Nadaraya 1964; Watson 1964.
class GaussianAttention : public EngineAttention {
 public:
  GaussianAttention(AttentionKind kind, const AttentionShape& shape, const GaussianOptions& options);

  at::Tensor log_width;

 protected:
  void prepare(AttentionInput& input, AttendOptions& options) const override;

 private:
  double width_;
};

AttentionEntry gaussian_attention();

}  // namespace fovea::nn
