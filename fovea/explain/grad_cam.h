#pragma once
#include "fovea/explain/explainer.h"

namespace fovea::explain {

/// A layer's output and the gradient of a class's score by it, both as maps (1, C, h, w).
struct LayerGradient {
  at::Tensor activations, gradients;
  std::string layer;
};

/// Taps `layer` (empty: cam_layer()) on the way forward and asks autograd for d score(target) / d output.
/// Only this gradient is computed: parameters keep theirs. The network should be in evaluation mode. Throws
/// fovea::Error (usage) when no module is named so (with the nearest), it did not run, or its output has no
/// places.
LayerGradient layer_gradient(models::ImageNetwork& network, const at::Tensor& image, int64_t target,
                             const std::string& layer);

/// The layers of the same kind as cam_layer(), in forward order, for maps layer by layer: those whose dotted
/// name differs from its name in numbers only (`layer3.1` for `layer4.1`, `blocks.0.norm1` for
/// `blocks.5.norm1`). One forward pass.
std::vector<std::string> cam_layers(models::ImageNetwork& network, const at::Tensor& image);

/// Grad-CAM: a layer's channels, weighted by how much the score rises with each.
///   map = ReLU(sum_k a_k A_k),   a_k = mean_ij d score / d A_kij
/// Fits every network with a layer of places; a transformer's tokens are laid out as their grid.
/// Self-check: the score depends on the layer (its gradient is not all zero).
/// Source: Selvaraju et al. 2017, section 3.
class GradCam : public Explainer {
 public:
  explicit GradCam(ExplainerOptions options) : options_(std::move(options)) {}
  std::string name() const override { return "gradcam"; }

 protected:
  /// (C) from activations and gradients, each (1, C, h, w).
  virtual at::Tensor channel_weights(const LayerGradient& at) const;

 private:
  Attribution attribute(models::ImageNetwork& network, const at::Tensor& image,
                        int64_t target) const override;
  ExplainerOptions options_;
};

/// Grad-CAM++: places whose gradient is positive count, weighted so that several objects of a class are all
/// seen.
///   a_k = sum_ij w_kij ReLU(g_kij),   w_kij = g^2 / (2 g^2 + sum_ab A_kab g^3),   g = d score / d A_kij
/// Source: Chattopadhay et al. 2018, eq. 19, with Y = exp(score), whose common factor is left out.
class GradCamPlusPlus : public GradCam {
 public:
  using GradCam::GradCam;
  std::string name() const override { return "gradcam++"; }

 private:
  at::Tensor channel_weights(const LayerGradient& at) const override;
};

}  // namespace fovea::explain
