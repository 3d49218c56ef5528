#include "fovea/nn/block/transformer_layer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/relu.h>

#include "fovea/core/error.h"

namespace fovea::nn {

LayerNorm transformer_norm(const TransformerOptions& options) {
  LayerNorm norm(torch::nn::LayerNormOptions({options.d_model}).eps(options.layer_norm_eps));
  if (!options.bias) norm->drop_bias();
  return norm;
}

TransformerLayer::TransformerLayer(const TransformerOptions& options) : options_(options) {
  const auto linear = [&](int64_t in, int64_t out) {
    return Linear(torch::nn::LinearOptions(in, out).bias(options.bias));
  };
  if (options.activation != "relu" && options.activation != "gelu") {
    throw usage_error("transformer", "the activation must be relu or gelu", "'" + options.activation + "'",
                      "Choose one of them.");
  }
  if (options.dim_feedforward < 1) {
    throw usage_error("transformer", "dim_feedforward must be at least 1",
                      std::to_string(options.dim_feedforward), "The usual is 4 d_model.");
  }
  self_attn = register_module("self_attn", make_attention(options.attention, options.position));
  linear1 = register_module("linear1", linear(options.d_model, options.dim_feedforward));
  linear2 = register_module("linear2", linear(options.dim_feedforward, options.d_model));
  dropout_ = register_module("dropout", Dropout(options.dropout));
}

MultiHeadAttention TransformerLayer::make_attention(const std::string& mechanism,
                                                    const std::string& position) const {
  MultiHeadAttentionOptions o;
  o.embed_dim = options_.d_model;
  o.num_heads = options_.nhead;
  o.num_kv_heads = options_.num_kv_heads;
  o.bias = options_.bias;
  o.dropout = options_.attention_dropout.value_or(options_.dropout);
  o.attention = mechanism;
  o.grid = options_.grid;
  o.position = position;
  return MultiHeadAttention(o);
}

at::Tensor TransformerLayer::feed_forward(const at::Tensor& x) {
  const at::Tensor hidden = linear1->forward(x);
  return linear2->forward(
      dropout_->forward(options_.activation == "relu" ? at::relu(hidden) : at::gelu(hidden)));
}

TransformerEncoderLayerImpl::TransformerEncoderLayerImpl(const TransformerOptions& options)
    : TransformerLayer(options) {
  norm1 = register_module("norm1", transformer_norm(options));
  norm2 = register_module("norm2", transformer_norm(options));
}

at::Tensor TransformerEncoderLayerImpl::forward(const at::Tensor& x, const AttentionCall& call) {
  const at::Tensor y = residual(
      x, norm1, [&](const at::Tensor& rows) { return self_attn->forward(rows, rows, rows, call).out; });
  at::Tensor out = residual(y, norm2, [&](const at::Tensor& rows) { return feed_forward(rows); });
  tap(*this, x, out);
  return out;
}

TransformerDecoderLayerImpl::TransformerDecoderLayerImpl(const TransformerOptions& options)
    : TransformerLayer(options) {
  multihead_attn = register_module("multihead_attn", make_attention(options.cross_attention, "none"));
  norm1 = register_module("norm1", transformer_norm(options));
  norm2 = register_module("norm2", transformer_norm(options));
  norm3 = register_module("norm3", transformer_norm(options));
}

at::Tensor TransformerDecoderLayerImpl::forward(const at::Tensor& x, const at::Tensor& memory,
                                                const AttentionCall& own, const AttentionCall& cross) {
  const at::Tensor y = residual(
      x, norm1, [&](const at::Tensor& rows) { return self_attn->forward(rows, rows, rows, own).out; });
  const at::Tensor z = residual(y, norm2, [&](const at::Tensor& rows) {
    return multihead_attn->forward(rows, memory, memory, cross).out;
  });
  at::Tensor out = residual(z, norm3, [&](const at::Tensor& rows) { return feed_forward(rows); });
  tap(*this, x, out);
  return out;
}

}  // namespace fovea::nn
