#include "fovea/nn/block/transformer.h"

#include <torch/nn/init.h>
#include <torch/nn/modules/container/modulelist.h>

namespace fovea::nn {
namespace {

// Registers `layers` and, if wanted, `norm`.
template <class Stack, class Layer>
void fill_stack(Stack& stack, std::vector<Layer>& layers, const TransformerOptions& options,
                int64_t num_layers, bool norm) {
  auto list = stack.register_module("layers", torch::nn::ModuleList());
  for (int64_t i = 0; i < num_layers; ++i) {
    layers.emplace_back(options);
    list->push_back(layers.back());
  }
  if (norm) stack.norm = stack.register_module("norm", transformer_norm(options));
}

}  // namespace

TransformerEncoderImpl::TransformerEncoderImpl(const TransformerOptions& options, int64_t num_layers,
                                               bool norm) {
  fill_stack(*this, layers, options, num_layers, norm);
}

at::Tensor TransformerEncoderImpl::forward(const at::Tensor& x, const AttentionCall& call) {
  at::Tensor out = x;
  for (auto& layer : layers) out = layer->forward(out, call);
  if (norm) out = norm->forward(out);
  tap(*this, x, out);
  return out;
}

TransformerDecoderImpl::TransformerDecoderImpl(const TransformerOptions& options, int64_t num_layers,
                                               bool norm) {
  fill_stack(*this, layers, options, num_layers, norm);
}

at::Tensor TransformerDecoderImpl::forward(const at::Tensor& x, const at::Tensor& memory,
                                           const AttentionCall& own, const AttentionCall& cross) {
  at::Tensor out = x;
  for (auto& layer : layers) out = layer->forward(out, memory, own, cross);
  if (norm) out = norm->forward(out);
  tap(*this, x, out);
  return out;
}

TransformerImpl::TransformerImpl(const TransformerOptions& options, int64_t num_encoder_layers,
                                 int64_t num_decoder_layers) {
  encoder = register_module("encoder", TransformerEncoder(options, num_encoder_layers, /*norm=*/true));
  decoder = register_module("decoder", TransformerDecoder(options, num_decoder_layers, /*norm=*/true));
  for (const auto& item : named_parameters()) {
    // A mechanism's own parameters start as it says.
    const bool own = item.key().find(".attention.") != std::string::npos;
    if (item.value().dim() > 1 && !own) torch::nn::init::xavier_uniform_(item.value());
  }
}

at::Tensor TransformerImpl::forward(const at::Tensor& source, const at::Tensor& target,
                                    const TransformerCalls& calls) {
  const at::Tensor memory = encoder->forward(source, calls.encoder);
  at::Tensor out = decoder->forward(target, memory, calls.decoder, calls.cross);
  tap(*this, source, out);
  return out;
}

}  // namespace fovea::nn
