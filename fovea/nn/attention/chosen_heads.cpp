#include "fovea/nn/attention/chosen_heads.h"

#include <ATen/TensorOperators.h>

namespace fovea::nn {
namespace {

// Where t has all the heads in dimension dim, counted from the last.
at::Tensor of_heads(const at::Tensor& t, int64_t dim, int64_t all, const at::Tensor& heads) {
  return t.dim() >= -dim && t.size(dim) == all && all > 1 ? t.index_select(dim, heads) : t;
}

}  // namespace

AttentionInput chosen_heads(const AttentionInput& input, const at::Tensor& heads) {
  const int64_t all = input.q.size(1);
  const at::Tensor kv_heads = heads.div(all / input.k.size(1), "floor");
  AttentionInput chosen = input;
  chosen.q = input.q.index_select(1, heads);
  chosen.k = input.k.index_select(1, kv_heads);
  chosen.v = input.v.index_select(1, kv_heads);
  AttentionCall& call = chosen.call;
  if (call.mask) call.mask = of_heads(*call.mask, -3, all, heads);
  if (call.bias) call.bias = of_heads(*call.bias, -3, all, heads);
  if (call.blocks) call.blocks->mask = of_heads(call.blocks->mask, -3, all, heads);
  if (call.alibi_slopes) call.alibi_slopes = of_heads(*call.alibi_slopes, -1, all, heads);
  if (call.relative_table) call.relative_table = of_heads(*call.relative_table, -2, all, heads);
  if (call.relative_grid) call.relative_grid->table = of_heads(call.relative_grid->table, -2, all, heads);
  return chosen;
}

}  // namespace fovea::nn
