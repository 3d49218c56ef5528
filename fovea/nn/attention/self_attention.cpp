#include "fovea/nn/attention/self_attention.h"

#include "fovea/core/error.h"
#include "fovea/nn/attention/host.h"
#include "fovea/nn/position/host.h"

namespace fovea::nn {

SelfAttentionImpl::SelfAttentionImpl(const SelfAttentionOptions& options) : options_(options) {
  const int64_t dim = options.dim, heads = options.num_heads;
  if (heads < 1 || dim < 1 || dim % heads != 0) {
    throw usage_error("self_attention", "num_heads must divide the width",
                      "width " + std::to_string(dim) + ", num_heads " + std::to_string(heads),
                      "Choose a divisor of the width.");
  }
  qkv = register_module("qkv", Linear(torch::nn::LinearOptions(dim, 3 * dim).bias(options.qkv_bias)));
  proj = register_module("proj", Linear(dim, dim));
  proj_drop = register_module("proj_drop", Dropout(options.proj_drop));
  const AttentionShape shape = {heads, heads, dim / heads, dim / heads, dim};
  attention = register_module("attention", hosted_attention(options.attention, shape, options.grid));
  attention->check_dropout(options.attn_drop);
  position = register_module("position", layer_position(options.position, {shape, options.grid}, *attention));
}

AttentionInput SelfAttentionImpl::project(const at::Tensor& x) {
  const int64_t batch = x.size(0), length = x.size(1), heads = options_.num_heads;
  const auto parts = qkv->forward(x)
                         .reshape({batch, length, 3, heads, options_.dim / heads})
                         .permute({2, 0, 3, 1, 4})
                         .unbind(0);
  AttentionInput input;
  input.q = parts[0], input.k = parts[1], input.v = parts[2];
  input.x = x;
  input.grid = options_.grid;
  return input;
}

at::Tensor SelfAttentionImpl::forward(const at::Tensor& x) {
  AttentionInput input = project(x);
  input.call.dropout_p = is_training() ? options_.attn_drop : 0.0;
  const at::Tensor heads_out = run_tapped(*this, std::move(input)).out;
  const at::Tensor joined = heads_out.transpose(1, 2).reshape(x.sizes());
  at::Tensor out = proj_drop->forward(proj->forward(joined));
  tap(*this, x, out);
  return out;
}

int64_t SelfAttentionImpl::multiply_adds(const at::Tensor& input, const at::Tensor&) const {
  const int64_t n = input.size(1), heads = options_.num_heads;
  return input.size(0) * heads * attention->cost(n, n, options_.dim / heads).multiply_adds;
}

}  // namespace fovea::nn
