#pragma once
#include <memory>
#include <vector>

#include "fovea/nn/block/transformer_layer.h"

namespace fovea::nn {

/// Layers of an encoder, one after the other, and a norm after the last where `norm` is set.
/// x (B, T, d_model) -> same; `call` is that of every layer. Keys of torch.nn.TransformerEncoder: `layers.0`
/// ..., `norm`; and `position`, with the parameters of a scheme that all layers share.   Source: Vaswani et
/// al. 2017, 3.1.
class TransformerEncoderImpl : public torch::nn::Module {
 public:
  explicit TransformerEncoderImpl(const TransformerOptions& options, int64_t num_layers = 6,
                                  bool norm = false);
  at::Tensor forward(const at::Tensor& x, const AttentionCall& call = {});

  std::vector<TransformerEncoderLayer> layers;
  std::shared_ptr<Position> position;
  LayerNorm norm{nullptr};
};
TORCH_MODULE(TransformerEncoder);

/// The same of a decoder's layers, all over one `memory` (B, S, d_model).
class TransformerDecoderImpl : public torch::nn::Module {
 public:
  explicit TransformerDecoderImpl(const TransformerOptions& options, int64_t num_layers = 6,
                                  bool norm = false);
  at::Tensor forward(const at::Tensor& x, const at::Tensor& memory, const AttentionCall& own = {},
                     const AttentionCall& cross = {});

  std::vector<TransformerDecoderLayer> layers;
  std::shared_ptr<Position> position;
  LayerNorm norm{nullptr};
};
TORCH_MODULE(TransformerDecoder);

/// What its three uses of attention are told.
struct TransformerCalls {
  AttentionCall encoder;
  /// In causal order, unless changed.
  AttentionCall decoder;
  AttentionCall cross;

  TransformerCalls() { decoder.causal = CausalAlignment::top_left; }
};

/// Encoder and decoder.   out = decoder(target, encoder(source)), each with a norm after its last layer
/// source (B, S, d_model), target (B, T, d_model) -> (B, T, d_model). Keys and initialisation of
/// torch.nn.Transformer: `encoder`, `decoder`.   Source: Vaswani et al. 2017, 3.1.
class TransformerImpl : public torch::nn::Module {
 public:
  explicit TransformerImpl(const TransformerOptions& options, int64_t num_encoder_layers = 6,
                           int64_t num_decoder_layers = 6);
  at::Tensor forward(const at::Tensor& source, const at::Tensor& target, const TransformerCalls& calls = {});

  TransformerEncoder encoder{nullptr};
  TransformerDecoder decoder{nullptr};
};
TORCH_MODULE(Transformer);

}  // namespace fovea::nn
