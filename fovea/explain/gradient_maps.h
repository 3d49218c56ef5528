#pragma once
// Attribution by the gradient of the score with respect to the image.
#include "fovea/explain/explainer.h"

namespace fovea::explain {

/// d score(target) / d image for every image of a batch.   (B, C, H, W) -> (B, C, H, W), and the scores (B)
/// in `scores` when it is given. Parameters keep their gradients.
at::Tensor input_gradient(models::ImageNetwork& network, const at::Tensor& images, int64_t target,
                          at::Tensor* scores = nullptr);

/// Saliency: how fast the score changes with each pixel.   map = max_c |d score / d x_c|
/// Source: Simonyan et al. 2013, Deep inside convolutional networks, section 3.1.
class Saliency : public Explainer {
 public:
  std::string name() const override { return "saliency"; }

 private:
  Attribution attribute(models::ImageNetwork& network, const at::Tensor& image,
                        int64_t target) const override;
};

/// Input times gradient: each pixel's part of the score, were the network linear.
///   map = |sum_c x_c d score / d x_c|
/// Source: Shrikumar et al. 2016, Not just a black box.
class InputXGradient : public Explainer {
 public:
  std::string name() const override { return "input_x_gradient"; }

 private:
  Attribution attribute(models::ImageNetwork& network, const at::Tensor& image,
                        int64_t target) const override;
};

/// Signed integrated gradients (1, C, H, W) and what completeness asks of their sum.
struct IntegratedGradientsResult {
  at::Tensor attributions;
  double score_change = 0;  ///< score(x) - score(x')
  double delta = 0;         ///< sum of the attributions - score_change
};

/// Integrated gradients along the straight path from the baseline image x' (all pixels `options.baseline`).
///   IG_i = (x_i - x'_i) (1/n) sum_{k=1..n} d score(x' + (k - 1/2)/n (x - x')) / d x_i
/// Reads steps (n), baseline, batch_size. O(n) passes forward and backward.
/// Source: Sundararajan et al. 2017, Axiomatic attribution for deep networks, section 3 (midpoint rule).
IntegratedGradientsResult integrated_gradients(models::ImageNetwork& network, const at::Tensor& image,
                                               int64_t target, const ExplainerOptions& options);

/// The magnitude of integrated gradients.   map = |sum_c IG_c|
/// Self-check: completeness, |delta| <= 5% of |score(x) - score(x')|.
class IntegratedGradients : public Explainer {
 public:
  explicit IntegratedGradients(ExplainerOptions options) : options_(std::move(options)) {}
  std::string name() const override { return "integrated_gradients"; }

 private:
  Attribution attribute(models::ImageNetwork& network, const at::Tensor& image,
                        int64_t target) const override;
  ExplainerOptions options_;
};

}  // namespace fovea::explain
