#pragma once
#include "fovea/explain/attention_maps.h"

namespace fovea::explain {

/// Attention followed through all layers, residual connections counted as half.
///   A_l = normalise_rows(0.5 fuse_heads(W_l) + 0.5 I),   R = A_L ... A_2 A_1
/// weights (H, N, N) a layer, first layer first -> (N, N), rows sum to 1; R[i, j] is the share of input token
/// j in output token i.   `discard_ratio` of each layer's smallest weights is set to 0 before (never those to
/// the class token, column 0, when `prefix` > 0).   O(L N^3). Throws fovea::Error (usage) without layers.
/// Source: Abnar and Zuidema 2020, Quantifying attention flow in transformers, section 3; discarding as in
/// Gildenblat 2020, Exploring explainability for vision transformers.
at::Tensor rollout_matrix(const std::vector<at::Tensor>& weights, const ExplainerOptions& options,
                          int64_t prefix);

/// Attention rollout of the class token (or the mean over tokens where there is none) onto the patches.
/// Reads head, head_fusion, discard_ratio, layer. Does not depend on the target class.
/// Self-check: rows of R sum to 1.
class Rollout : public Explainer {
 public:
  explicit Rollout(ExplainerOptions options) : options_(std::move(options)) {}
  std::string name() const override { return "rollout"; }

 private:
  Attribution attribute(models::ImageNetwork& network, const at::Tensor& image,
                        int64_t target) const override;
  ExplainerOptions options_;
};

}  // namespace fovea::explain
