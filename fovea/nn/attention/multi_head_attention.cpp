#include "fovea/nn/attention/multi_head_attention.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>
#include <torch/nn/init.h>

#include <utility>
#include <vector>

#include "fovea/core/error.h"
#include "fovea/nn/attention/host.h"
#include "fovea/nn/position/host.h"
#include "fovea/ops/describe.h"

namespace fovea::nn {
namespace {

constexpr const char* kMultiHead = "multi_head_attention";

MultiHeadAttentionOptions completed(MultiHeadAttentionOptions o) {
  if (o.num_kv_heads == 0) o.num_kv_heads = o.num_heads;
  if (o.kdim == 0) o.kdim = o.embed_dim;
  if (o.vdim == 0) o.vdim = o.embed_dim;
  const bool fits = o.embed_dim >= 1 && o.num_heads >= 1 && o.embed_dim % o.num_heads == 0 &&
                    o.num_kv_heads >= 1 && o.num_heads % o.num_kv_heads == 0 && o.kdim >= 1 && o.vdim >= 1;
  if (!fits) {
    throw usage_error(kMultiHead, "num_heads must divide embed_dim, and num_kv_heads num_heads",
                      "embed_dim " + std::to_string(o.embed_dim) + ", num_heads " +
                          std::to_string(o.num_heads) + ", num_kv_heads " + std::to_string(o.num_kv_heads) +
                          ", kdim " + std::to_string(o.kdim) + ", vdim " + std::to_string(o.vdim),
                      "Choose divisors.");
  }
  return o;
}

// (B, T, heads D) -> (B, heads, T, D)
at::Tensor in_heads(const at::Tensor& rows, int64_t heads) {
  return rows.unflatten(2, {heads, rows.size(2) / heads}).transpose(1, 2);
}

}  // namespace

MultiHeadAttentionImpl::MultiHeadAttentionImpl(const MultiHeadAttentionOptions& options)
    : options_(completed(options)) {
  const auto& o = options_;
  register_projections();
  out_proj =
      register_module("out_proj", Linear(torch::nn::LinearOptions(o.embed_dim, o.embed_dim).bias(o.bias)));
  if (o.bias) torch::nn::init::zeros_(out_proj->bias);
  const AttentionShape shape = {o.num_heads, o.num_kv_heads, head_dim(), head_dim(), o.embed_dim};
  attention = register_module("attention", hosted_attention(o.attention, shape, o.grid));
  attention->check_dropout(o.dropout);
  position = register_module("position", layer_position(o.position, {shape, o.grid}, *attention));
}

void MultiHeadAttentionImpl::register_projections() {
  const int64_t width = options_.embed_dim;
  const auto project = [&](const char* name, int64_t out, int64_t in) {
    at::Tensor weight = register_parameter(name, at::empty({out, in}));
    torch::nn::init::xavier_uniform_(weight);
    return weight;
  };
  if (options_.kdim == width && options_.vdim == width && kv_width() == width) {
    in_proj_weight = project("in_proj_weight", 3 * width, width);
  } else {
    q_proj_weight = project("q_proj_weight", width, width);
    k_proj_weight = project("k_proj_weight", kv_width(), options_.kdim);
    v_proj_weight = project("v_proj_weight", kv_width(), options_.vdim);
  }
  if (options_.bias) in_proj_bias = register_parameter("in_proj_bias", at::zeros({width + 2 * kv_width()}));
}

void MultiHeadAttentionImpl::check_rows(const at::Tensor& query, const at::Tensor& key,
                                        const at::Tensor& value) const {
  const auto fits = [](const at::Tensor& t, int64_t width) { return t.dim() == 3 && t.size(2) == width; };
  if (fits(query, options_.embed_dim) && fits(key, options_.kdim) && fits(value, options_.vdim)) return;
  throw usage_error(kMultiHead,
                    "query, key and value must be (B, T, width) of widths " +
                        std::to_string(options_.embed_dim) + ", " + std::to_string(options_.kdim) + " and " +
                        std::to_string(options_.vdim),
                    describe(query) + ", " + describe(key) + ", " + describe(value), "Reshape them.");
}

AttentionOutput MultiHeadAttentionImpl::forward(const at::Tensor& query, const at::Tensor& key,
                                                const at::Tensor& value, const AttentionCall& call) {
  check_rows(query, key, value);
  const std::vector<int64_t> widths = {options_.embed_dim, kv_width(), kv_width()};
  const std::vector<at::Tensor> weights =
      in_proj_weight.defined() ? in_proj_weight.split_with_sizes(widths)
                               : std::vector<at::Tensor>{q_proj_weight, k_proj_weight, v_proj_weight};
  const std::vector<at::Tensor> biases =
      in_proj_bias.defined() ? in_proj_bias.split_with_sizes(widths) : std::vector<at::Tensor>(3);
  AttentionInput input;
  input.q = in_heads(at::linear(query, weights[0], biases[0]), options_.num_heads);
  input.k = in_heads(at::linear(key, weights[1], biases[1]), options_.num_kv_heads);
  input.v = in_heads(at::linear(value, weights[2], biases[2]), options_.num_kv_heads);
  input.x = query;
  input.cross = !key.is_same(query);
  if (input.cross) input.context = key;
  input.grid = options_.grid;
  input.call = call;
  if (is_training() && options_.dropout > 0) input.call.dropout_p = options_.dropout;
  AttentionOutput result = run_tapped(*this, std::move(input));
  result.out = out_proj->forward(result.out.transpose(1, 2).flatten(2));
  keys_ = key.size(1);
  tap(*this, query, result.out);
  return result;
}

int64_t MultiHeadAttentionImpl::multiply_adds(const at::Tensor& input, const at::Tensor&) const {
  const int64_t n = input.size(1), m = keys_, width = options_.embed_dim;
  const int64_t projections = n * width * width + m * kv_width() * (options_.kdim + options_.vdim);
  return input.size(0) * (projections + options_.num_heads * attention->cost(n, m, head_dim()).multiply_adds);
}

}  // namespace fovea::nn
