#include "fovea/nn/attention/self_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>

#include <cmath>

#include "fovea/core/error.h"
#include "fovea/ops/additive_attend.h"
#include "fovea/ops/attend.h"

namespace fovea::nn {

SelfAttentionImpl::SelfAttentionImpl(const SelfAttentionOptions& options)
    : options_(options), mechanism_(parse_mechanism(options.attention)) {
  const int64_t dim = options.dim, heads = options.num_heads;
  if (heads < 1 || dim < 1 || dim % heads != 0) {
    throw usage_error("self_attention", "num_heads must divide the width",
                      "width " + std::to_string(dim) + ", num_heads " + std::to_string(heads),
                      "Choose a divisor of the width.");
  }
  if (mechanism_.block) {
    throw usage_error("self_attention", "block needs a mask of blocks, which a network has not",
                      options.attention, "Leave it out.");
  }
  qkv = register_module("qkv", Linear(torch::nn::LinearOptions(dim, 3 * dim).bias(options.qkv_bias)));
  proj = register_module("proj", Linear(dim, dim));
  proj_drop = register_module("proj_drop", Dropout(options.proj_drop));
  if (mechanism_.is_additive()) {
    w = register_parameter("w", at::randn({heads, dim / heads}) / std::sqrt(dim / heads));
  }
}

at::Tensor SelfAttentionImpl::forward(const at::Tensor& x) {
  const int64_t batch = x.size(0), length = x.size(1), heads = options_.num_heads;
  const auto parts = qkv->forward(x)
                         .reshape({batch, length, 3, heads, options_.dim / heads})
                         .permute({2, 0, 3, 1, 4})
                         .unbind(0);
  AttendOptions call = attend_options(mechanism_, heads);
  call.dropout_p = is_training() ? options_.attn_drop : 0.0;
  call.weights = attention_tapped();
  const auto result = mechanism_.is_additive() ? additive_attend(parts[0], parts[1], parts[2], w, call)
                                               : attend(parts[0], parts[1], parts[2], call);
  if (call.weights) tap_attention(*this, result.weights);
  const at::Tensor joined = result.out.transpose(1, 2).reshape({batch, length, options_.dim});
  at::Tensor out = proj_drop->forward(proj->forward(joined));
  tap(*this, x, out);
  return out;
}

int64_t SelfAttentionImpl::multiply_adds(const at::Tensor& input, const at::Tensor&) const {
  return 2 * input.size(0) * input.size(1) * input.size(1) * options_.dim;
}

}  // namespace fovea::nn
