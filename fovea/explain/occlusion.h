#pragma once
#include "fovea/explain/explainer.h"

namespace fovea::explain {

/// Occlusion: how much the score falls when a square is covered.
///   map(p) = mean over squares S that contain pixel p of (score(x) - score(x with S set to the baseline))
/// Where the score rises instead, the value is negative and the map shows 0. Squares start at every `stride`
/// pixels, and the last ones end at the image's edge, so that all pixels are covered. Reads window, stride,
/// baseline, batch_size. O((H W) / stride^2) forward passes. Fits every network. Source: Zeiler and Fergus
/// 2014, section 4.2.
class Occlusion : public Explainer {
 public:
  explicit Occlusion(ExplainerOptions options) : options_(std::move(options)) {}
  std::string name() const override { return "occlusion"; }

 private:
  Attribution attribute(models::ImageNetwork& network, const at::Tensor& image,
                        int64_t target) const override;
  ExplainerOptions options_;
};

}  // namespace fovea::explain
