#include "fovea/explain/gradient_maps.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>

namespace fovea::explain {

at::Tensor input_gradient(models::ImageNetwork& network, const at::Tensor& images, int64_t target,
                          at::Tensor* scores) {
  const at::AutoGradMode with_gradients(true);
  const at::Tensor x = images.detach().clone().set_requires_grad(true);
  const at::Tensor score = network.forward(x).select(1, target);
  if (scores) *scores = score.detach();
  // Images of a batch do not touch each other in evaluation mode, so the gradient of the sum is each one's
  // own.
  const at::Tensor gradient = torch::autograd::grad({score.sum()}, {x}, {}, /*retain_graph=*/false,
                                                    /*create_graph=*/false, /*allow_unused=*/true)[0];
  return gradient.defined() ? gradient : at::zeros_like(images);
}

Explainer::Attribution Saliency::attribute(models::ImageNetwork& network, const at::Tensor& image,
                                           int64_t target) const {
  return {input_gradient(network, image, target)[0].abs().amax(0), /*from_zero=*/true, "", std::nullopt};
}

Explainer::Attribution InputXGradient::attribute(models::ImageNetwork& network, const at::Tensor& image,
                                                 int64_t target) const {
  const at::Tensor product = input_gradient(network, image, target) * image;
  return {product[0].sum(0).abs(), /*from_zero=*/true, "", std::nullopt};
}

IntegratedGradientsResult integrated_gradients(models::ImageNetwork& network, const at::Tensor& image,
                                               int64_t target, const ExplainerOptions& options) {
  const at::Tensor x = image.detach(), base = at::full_like(x, options.baseline);
  at::Tensor total = at::zeros_like(x, x.options().dtype(at::kDouble));
  for (int64_t start = 0; start < options.steps; start += options.batch_size) {
    const int64_t n = std::min(options.batch_size, options.steps - start);
    const at::Tensor position = (at::arange(start, start + n, x.options()) + 0.5) / double(options.steps);
    const at::Tensor path = base + position.view({n, 1, 1, 1}) * (x - base);
    total += input_gradient(network, path, target).to(at::kDouble).sum(0, /*keepdim=*/true);
  }
  IntegratedGradientsResult result;
  result.attributions = (x - base).to(at::kDouble) * total / double(options.steps);
  const at::NoGradGuard no_grad;
  const at::Tensor ends = network.forward(at::cat({x, base})).select(1, target).to(at::kDouble);
  result.score_change = (ends[0] - ends[1]).item<double>();
  result.delta = result.attributions.sum().item<double>() - result.score_change;
  return result;
}

Explainer::Attribution IntegratedGradients::attribute(models::ImageNetwork& network, const at::Tensor& image,
                                                      int64_t target) const {
  const auto result = integrated_gradients(network, image, target, options_);
  const double error = std::abs(result.delta) / std::max(std::abs(result.score_change), 1e-6);
  return {result.attributions[0].sum(0).abs(), /*from_zero=*/true, "",
          SelfCheck{"completeness: attributions sum to the change of the score", error, error <= 0.05}};
}

}  // namespace fovea::explain
