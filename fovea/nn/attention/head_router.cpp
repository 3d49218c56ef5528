#include "fovea/nn/attention/head_router.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "fovea/mods/gathered.h"
#include "fovea/ops/operands.h"

namespace fovea::nn {
namespace {

// The rows of each head that chose it.
struct Route {
  /// (B, H, C), int64: numbers of rows, rising; where fewer than C chose a head, others follow.
  at::Tensor rows;
  /// (B, H, C): whether it chose the head.
  at::Tensor chosen;
};

// w (B, H, N), 0 where a row did not choose the head.
Route route_of(const at::Tensor& w) {
  const at::Tensor passed = (w == 0), counts = w.size(2) - passed.sum(2);
  const int64_t most = counts.numel() == 0 ? 0 : counts.max().item<int64_t>();
  const at::Tensor order =
      std::get<1>(at::sort(passed.to(at::kByte), /*stable=*/true, /*dim=*/2, /*descending=*/false));
  return {order.slice(2, 0, most), at::arange(most, counts.options()) < counts.unsqueeze(2)};
}

// Of what broadcasts to (B, H, N, M).
std::optional<at::Tensor> gathered_pairs(const std::optional<at::Tensor>& t, const Route& route, int64_t n) {
  if (!t || t->dim() < 2 || t->size(-2) == 1) return t;
  return gathered_rows(t->expand({route.rows.size(0), route.rows.size(1), n, t->size(-1)}), route.rows);
}

// Causal order by the places where rows stood.
std::shared_ptr<const AttendFunctors> gathered_order(const Route& route, int64_t n, int32_t offset) {
  const int64_t heads = route.rows.size(1), most = route.rows.size(2);
  const at::Tensor places = at::where(route.chosen, route.rows, n - 1);
  const auto table = int_table(places.to(at::kCPU, at::kInt).flatten().contiguous());
  return bind(Identity{}, Gathered(Causal(offset), table, static_cast<int32_t>(heads * most),
                                   static_cast<int32_t>(most)));
}

}  // namespace

HeadRouterAttention::HeadRouterAttention(AttentionKind kind, const AttentionShape& shape,
                                         const HeadRouterOptions& options)
    : EngineAttention(std::move(kind), shape, options),
      k_(options.k.value_or(std::min<int64_t>(2, shape.heads))),
      detach_(options.detach) {
  if (k_ > shape.heads) {
    refuse("k must be at most the heads", std::to_string(k_) + " of " + std::to_string(shape.heads),
           "Choose a smaller k, or more heads.");
  }
  router = register_module("router", Linear(torch::nn::LinearOptions(shape.width, shape.heads).bias(false)));
}

at::Tensor HeadRouterAttention::logits(const at::Tensor& x) const {
  return at::linear(widened(x), widened(router->weight));
}

at::Tensor HeadRouterAttention::weights(const at::Tensor& x) const {
  const at::Tensor p = at::softmax(logits(x), -1);
  const auto [top, heads] = at::topk(p, k_, -1);
  const at::Tensor sum = top.sum(-1, /*keepdim=*/true);
  return at::zeros_like(p.detach()).scatter(2, heads, top / (detach_ ? sum.detach() : sum));
}

at::Tensor HeadRouterAttention::balance_loss(const at::Tensor& x) const {
  const at::Tensor chose = (weights(x).detach() > 0).to(widened(x).scalar_type());
  const at::Tensor p = at::softmax(logits(x), -1);
  return (chose.flatten(0, 1).mean(0) * p.flatten(0, 1).mean(0)).sum() * shape().heads;
}

at::Tensor HeadRouterAttention::z_loss(const at::Tensor& x) const {
  return at::logsumexp(logits(x), -1).square().mean();
}

void HeadRouterAttention::check_call(const AttentionCall& call) const {
  if (call.segments || call.blocks || call.alibi_slopes || call.relative_table || call.relative_grid) {
    refuse("its queries are picked out of the sequence, and take masks and biases of pairs alone",
           "segments, blocks or what depends on distances", "Write it as a mask or a bias.");
  }
}

AttentionOutput HeadRouterAttention::run(const AttentionInput& input) {
  check_call(input.call);
  const int64_t n = input.q.size(2);
  const at::Tensor w = weights(input.x).transpose(1, 2).to(input.q.scalar_type());
  AttendOptions options = options_of(input.call);
  if (input.q.is_meta()) return {attend(input.q, input.k, input.v, options).out, {}, {}};
  const Route route = route_of(w.detach());
  options.mask = gathered_pairs(options.mask, route, n);
  options.bias = gathered_pairs(options.bias, route, n);
  if (options.causal != CausalAlignment::none) {
    const bool last = options.causal == CausalAlignment::bottom_right;
    options.functors = gathered_order(route, n, static_cast<int32_t>(last ? input.k.size(2) - n : 0));
    options.causal = CausalAlignment::none;
  }
  const at::Tensor own = attend(gathered_rows(input.q, route.rows), input.k, input.v, options).out;
  const at::Tensor weighted = own * w.gather(2, route.rows).unsqueeze(3);
  const at::Tensor rows = route.rows.unsqueeze(3).expand({-1, -1, -1, own.size(3)});
  const at::Tensor none =
      at::zeros({own.size(0), own.size(1), n, own.size(3)}, own.options().requires_grad(false));
  return {none.scatter(2, rows, weighted), {}, {}};
}

AttentionCost HeadRouterAttention::cost(int64_t n, int64_t m, int64_t d) const {
  AttentionCost cost = EngineAttention::cost(n, m, d);
  cost.multiply_adds = cost.multiply_adds * k_ / shape().heads + n * shape().width;
  // Queries of a head, gathered, and the order of its rows.
  const int64_t rows = n * k_ / shape().heads;
  cost.bytes += (rows * d + 2 * n) * kFloatBytes;
  return cost;
}

AttentionEntry head_router_attention() {
  return attention_entry<HeadRouterAttention>(
      {"head_router", "out_th = w_th softmax_h, w_t the k largest of softmax(W x_t), summed to 1",
       "Zhang et al. 2022, Mixture of attention heads, section 3",
       "O(N M D k / H) time of a head, O(N D + M) memory", "decode, fused"},
      {.supports_cross = false,
       .needs_x = true,
       .gives_weights = false,
       .observes = false,
       .takes_packed = false},
      HeadRouterOptions{});
}

}  // namespace fovea::nn
