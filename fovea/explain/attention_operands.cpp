#include "fovea/explain/attention_operands.h"

#include <ATen/core/grad_mode.h>

#include <utility>

#include "fovea/core/error.h"
#include "fovea/explain/probe.h"
#include "fovea/nn/attention/self_attention.h"
#include "fovea/nn/tap.h"

namespace fovea::explain {

AttentionOperands record_operands(models::ImageNetwork& network, const at::Tensor& images) {
  const at::NoGradGuard no_grad;
  const EvaluationScope evaluation(network);
  std::vector<std::pair<const torch::nn::Module*, at::Tensor>> seen;
  {
    const nn::TapScope scope(
        [&seen](const torch::nn::Module& module, const at::Tensor& input, const at::Tensor&) {
          if (dynamic_cast<const nn::SelfAttentionImpl*>(&module)) seen.emplace_back(&module, input);
        });
    network.forward(images);
  }
  AttentionOperands operands;
  const auto modules = network.named_modules();
  for (const auto& [module, rows] : seen) {
    const std::string name = module_name(network, *module);
    auto* layer = dynamic_cast<nn::SelfAttentionImpl*>(modules[name].get());
    nn::AttentionInput input = layer->project(rows);
    for (at::Tensor* t : {&input.q, &input.k, &input.v}) *t = t->to(at::kFloat);
    operands.layers.push_back(name);
    operands.inputs.push_back(std::move(input));
  }
  if (operands.layers.empty()) {
    throw usage_error("attention_operands",
                      "the network has no self-attention layer. Choose one that has, such as a ViT.");
  }
  return operands;
}

}  // namespace fovea::explain
