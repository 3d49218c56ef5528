#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "fovea/nn/attention/engine.h"
#include "fovea/nn/attention/entry.h"
#include "fovea/nn/attention/kernel_map.h"

namespace fovea::nn {

/// Which kernel random features stand for.
enum class FeatureKernel { softmax, relu };

struct PerformerOptions {
  /// D log(D), at least 1, when left out.
  std::optional<int64_t> features;
  bool orthogonal = true;
  FeatureKernel kernel = FeatureKernel::softmax;
  int64_t seed = 0;
  CausalAlignment causal = CausalAlignment::none;

  template <class Visitor>
  static void fields(PerformerOptions& o, Visitor&& visit) {
    visit(OptionText{"features", "how many random features; D log(D) when left out"}, o.features,
          WholeFrom{1});
    visit(OptionText{"orthogonal", "features of a block of D are at right angles"}, o.orthogonal);
    visit(OptionText{"kernel", "softmax: estimates exp(q . k / sqrt(D)); relu: a kernel of its own, 2.3"},
          o.kernel,
          Choice<FeatureKernel>{{"softmax", FeatureKernel::softmax}, {"relu", FeatureKernel::relu}});
    visit(OptionText{"seed", "of the features"}, o.seed, WholeFrom{0});
    visit_causal_order(o.causal, visit);
  }
  void check(const std::string& where) const;
};

/// FAVOR+: softmax attention by positive random features.
///   phi(x)_r = exp(w_r . x / D^(1/4) - |x|^2 / (2 sqrt(D))) / sqrt(R), w_r normal: E phi(q) . phi(k) =
///   exp(q . k / sqrt(D)); kernel=relu: phi(x)_r = max(w_r . x / D^(1/4), 0) + 0.001
/// The directions w are a buffer `projection_matrix` (R, D), the same for all heads, and saved. So that no
/// exponential overflows, features are divided by their largest, of each query and of all the keys of a head,
/// which the sum of weights takes out again: no small number is added to them, and a key that comes later
/// changes earlier rows by rounding only. Keys whose features are below 1e-30 of the largest count as 0 in
/// float32. O((N + M) R (D + Dv)) time, causal too.
/// Source: Choromanski et al. 2021, Rethinking attention with Performers, 2.3, Lemma 1, 2.4.
class PerformerAttention : public KernelMapAttention {
 public:
  PerformerAttention(AttentionKind kind, const AttentionShape& shape, const PerformerOptions& options);

  /// Draws the directions anew, in place: of other seeds, other ones.
  void redraw(uint64_t seed);

  at::Tensor projection_matrix;

 protected:
  at::Tensor query_features(const at::Tensor& q) const override;
  KeyFeatures key_features(const at::Tensor& k, const at::Tensor& hidden,
                           const at::Tensor& log_scale) const override;
  int64_t features(int64_t d) const override;
  int64_t feature_products(int64_t d) const override { return features(d) * d; }

 private:
  /// D^(-1/4)
  static double scale(const at::Tensor& x);
  at::Tensor relu_features(const at::Tensor& x) const;

  PerformerOptions options_;
};

AttentionEntry performer_attention();

}  // namespace fovea::nn
