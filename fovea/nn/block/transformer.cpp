#include "fovea/nn/block/transformer.h"

#include <torch/nn/init.h>
#include <torch/nn/modules/container/modulelist.h>

#include <algorithm>

#include "fovea/nn/position/host.h"

namespace fovea::nn {
namespace {

// Rows through `layers`, with their positions where the scheme acts on rows.
template <class Layer, class Run>
at::Tensor run_stack(Position& position, std::vector<Layer>& layers, const at::Tensor& x, const Run& run) {
  at::Tensor out = position.after(0, x);
  for (size_t i = 0; i < layers.size(); ++i) {
    out = position.after(static_cast<int64_t>(i) + 1, run(layers[i], out));
  }
  return out;
}

// Registers `layers`, `position` and, if wanted, `norm`.
template <class Stack, class Layer>
void fill_stack(Stack& stack, std::vector<Layer>& layers, const TransformerOptions& options,
                int64_t num_layers, bool norm) {
  auto list = stack.register_module("layers", torch::nn::ModuleList());
  TransformerOptions of_layers = options;
  of_layers.position = text_of_layers(options.position);
  for (int64_t i = 0; i < num_layers; ++i) {
    layers.emplace_back(of_layers);
    list->push_back(layers.back());
  }
  const int64_t heads = options.nhead, kv_heads = options.num_kv_heads == 0 ? heads : options.num_kv_heads,
                size = options.d_model / std::max<int64_t>(heads, 1);
  stack.position = stack.register_module(
      "position",
      network_position(options.position, {{heads, kv_heads, size, size, options.d_model}, options.grid}));
  for (auto& layer : layers) share_position(*layer->self_attn, stack.position);
  if (norm) stack.norm = stack.register_module("norm", transformer_norm(options));
}

}  // namespace

TransformerEncoderImpl::TransformerEncoderImpl(const TransformerOptions& options, int64_t num_layers,
                                               bool norm) {
  fill_stack(*this, layers, options, num_layers, norm);
}

at::Tensor TransformerEncoderImpl::forward(const at::Tensor& x, const AttentionCall& call) {
  at::Tensor out = run_stack(*position, layers, x,
                             [&](auto& layer, const at::Tensor& rows) { return layer->forward(rows, call); });
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
  at::Tensor out = run_stack(*position, layers, x, [&](auto& layer, const at::Tensor& rows) {
    return layer->forward(rows, memory, own, cross);
  });
  if (norm) out = norm->forward(out);
  tap(*this, x, out);
  return out;
}

TransformerImpl::TransformerImpl(const TransformerOptions& options, int64_t num_encoder_layers,
                                 int64_t num_decoder_layers) {
  encoder = register_module("encoder", TransformerEncoder(options, num_encoder_layers, /*norm=*/true));
  decoder = register_module("decoder", TransformerDecoder(options, num_decoder_layers, /*norm=*/true));
  for (const auto& item : named_parameters()) {
    // Parameters of mechanisms and position schemes start as those say.
    const bool own = item.key().find(".attention.") != std::string::npos ||
                     item.key().find(".position.") != std::string::npos;
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
