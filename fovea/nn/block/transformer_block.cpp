#include "fovea/nn/block/transformer_block.h"

namespace fovea::nn {

TransformerBlockImpl::TransformerBlockImpl(const TransformerBlockOptions& options) {
  const int64_t dim = options.attention.dim;
  const auto norm = torch::nn::LayerNormOptions({dim}).eps(options.norm_eps);
  const auto hidden = static_cast<int64_t>(static_cast<double>(dim) * options.mlp_ratio);
  norm1 = register_module("norm1", LayerNorm(norm));
  attn = register_module("attn", SelfAttention(options.attention));
  drop_path1 = register_module("drop_path1", DropPath(options.drop_path));
  norm2 = register_module("norm2", LayerNorm(norm));
  mlp = register_module("mlp", Mlp(dim, hidden, options.attention.proj_drop));
  drop_path2 = register_module("drop_path2", DropPath(options.drop_path));
}

at::Tensor TransformerBlockImpl::forward(const at::Tensor& x) {
  const at::Tensor y = x + drop_path1->forward(attn->forward(norm1->forward(x)));
  at::Tensor out = y + drop_path2->forward(mlp->forward(norm2->forward(y)));
  tap(*this, x, out);
  return out;
}

}  // namespace fovea::nn
