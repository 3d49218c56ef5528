#include "fovea/explain/grad_cam.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

#include "fovea/core/error.h"
#include "fovea/core/nearest.h"
#include "fovea/explain/probe.h"
#include "fovea/nn/tap.h"

namespace fovea::explain {
namespace {

const torch::nn::Module& find_layer(const models::ImageNetwork& network, const std::string& layer) {
  if (layer.empty()) return network.cam_layer();
  std::vector<std::string> names;
  for (const auto& item : network.named_modules({}, /*include_self=*/false)) {
    if (item.key() == layer) return *item.value();
    names.push_back(item.key());
  }
  throw usage_error("explain", "no layer is named so; found '" + layer + "'. " +
                                   suggest_name(layer, names, "`fovea summary` lists the layers."));
}

// Numbers replaced by '#', but not in a last part that is a word (norm1 is no norm2): layers of one kind get
// one pattern.
std::string pattern(const std::string& name) {
  const size_t dot = name.rfind('.'), leaf = dot == std::string::npos ? 0 : dot + 1;
  const bool numbered = name.find_first_not_of("0123456789", leaf) == std::string::npos;
  const size_t end = numbered ? name.size() : leaf;
  std::string out;
  for (const char c : name.substr(0, end)) {
    if (c < '0' || c > '9') {
      out += c;
    } else if (out.empty() || out.back() != '#') {
      out += '#';
    }
  }
  return out + name.substr(end);
}

}  // namespace

LayerGradient layer_gradient(models::ImageNetwork& network, const at::Tensor& image, int64_t target,
                             const std::string& layer) {
  const torch::nn::Module& module = find_layer(network, layer);
  const std::string name = module_name(network, module);
  at::Tensor output;
  const at::AutoGradMode with_gradients(true);
  // The image asks for a gradient so that a graph is built even when every parameter is frozen.
  const at::Tensor input = image.detach().clone().set_requires_grad(true);
  at::Tensor logits;
  {
    const nn::TapScope scope([&](const torch::nn::Module& m, const at::Tensor&, const at::Tensor& out) {
      if (&m == &module) output = out;
    });
    logits = network.forward(input);
  }
  if (!output.defined()) {
    throw usage_error("explain", "layer '" + name +
                                     "' showed no output in the forward pass. Choose one of "
                                     "those that `fovea summary` lists with an output shape.");
  }
  const at::Tensor score = logits[0][target];
  at::Tensor gradient =
      torch::autograd::grad({score}, {output}, {}, /*retain_graph=*/false, /*create_graph=*/false,
                            /*allow_unused=*/true)[0];
  if (!gradient.defined()) gradient = at::zeros_like(output);
  const models::TokenGrid grid = network.token_grid();
  return {as_feature_map(output.detach(), grid, name), as_feature_map(gradient, grid, name), name};
}

std::vector<std::string> cam_layers(models::ImageNetwork& network, const at::Tensor& image) {
  const std::string kind = pattern(module_name(network, network.cam_layer()));
  const models::TokenGrid grid = network.token_grid();
  const auto has_places = [&grid](const at::Tensor& out) {
    return out.dim() == 4 || (out.dim() == 3 && out.size(1) == grid.prefix + grid.rows * grid.columns);
  };
  std::vector<const torch::nn::Module*> ran;
  {
    const at::NoGradGuard no_grad;
    const nn::TapScope scope([&](const torch::nn::Module& m, const at::Tensor&, const at::Tensor& out) {
      if (has_places(out)) ran.push_back(&m);
    });
    network.forward(image);
  }
  std::vector<std::string> names;
  for (const auto* module : ran) {
    const std::string name = module_name(network, *module);
    if (pattern(name) == kind && std::find(names.begin(), names.end(), name) == names.end()) {
      names.push_back(name);
    }
  }
  return names;
}

at::Tensor GradCam::channel_weights(const LayerGradient& at) const { return at.gradients[0].mean({1, 2}); }

at::Tensor GradCamPlusPlus::channel_weights(const LayerGradient& at) const {
  const at::Tensor g = at.gradients[0], a = at.activations[0];
  const at::Tensor second = g.square(), third = second * g;
  const at::Tensor below = 2 * second + a.sum({1, 2}, /*keepdim=*/true) * third;
  const at::Tensor weights = at::where(below != 0, second / below, at::zeros_like(below));
  return (weights * g.relu()).sum({1, 2});
}

Explainer::Attribution GradCam::attribute(models::ImageNetwork& network, const at::Tensor& image,
                                          int64_t target) const {
  const LayerGradient found = layer_gradient(network, image, target, options_.layer);
  const at::Tensor weights = channel_weights(found).view({-1, 1, 1});
  const at::Tensor map = (weights * found.activations[0]).sum(0).relu();
  const bool depends = (found.gradients != 0).any().item<bool>();
  return {map, /*from_zero=*/true, found.layer,
          SelfCheck{"the score depends on the layer's output at the image's places", depends ? 0.0 : 1.0,
                    depends}};
}

}  // namespace fovea::explain
