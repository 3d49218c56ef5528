#include "tests/nn/proofs/range_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "tests/nn/proofs/formulas.h"

namespace fovea::proofs {
namespace {

CostLaw over(double exponent, const char* text) {
  return {exponent, [text](int64_t) { return std::string(text); }};
}

at::Tensor linear_of(const Operands& o, const std::string& layer) {
  return at::einsum("bte,he->bht", {o.x, o.parameter(layer + ".weight")}) +
         o.parameter(layer + ".bias").unsqueeze(1);
}

// Of a constant f a head, as ALiBi's slopes of two heads.
void forget_like_alibi(Operands& o) {
  o.parameters.at("f_proj.weight").zero_();
  const at::Tensor slopes = at::tensor({1.0 / 16, 1.0 / 256}, at::kDouble);
  o.parameters.at("f_proj.bias").copy_(-slopes.expm1().log());
}

ProofRow forgetting_row() {
  ProofRow row{
      "forgetting",
      [](const Operands& o) {
        const at::Tensor f = linear_of(o, "f_proj").sigmoid();
        const int64_t n = o.queries();
        // Sums of j < l <= i, pair by pair.
        const at::Tensor l = at::arange(n), between = (o.j().unsqueeze(1) < l) & (l <= o.i().unsqueeze(2));
        const at::Tensor sums = at::einsum("bhl,ijl->bhij", {f.log(), between.to(at::kDouble)});
        return softmax_over(scaled_dots(o) + sums, o.seen & (o.j() <= o.i()), o.v);
      },
      Limit{"forgetting", "softmax:causal=true,alibi=true", 1e-12, forget_like_alibi},
      Reason{"the naive reference of flash-linear-attention is this formula; its kernels need a GPU"},
      over(2.0, "forgetting")};
  row.rows = true;
  return row;
}

// Weights times m, summed to 1 again; 0 where nothing is seen.
at::Tensor masked_softly(const Operands& o, const at::Tensor& m, const at::Tensor& seen) {
  const at::Tensor e = at::where(seen, scaled_dots(o), 0.0).exp() * seen * m, sum = e.sum(-1, true);
  return weighted(e / at::where(sum > 0, sum, 1.0), o.v);
}

at::Tensor away(const Operands& o) { return (o.i() - o.j()).abs(); }

ProofRow adaptive_span_row() {
  return {"adaptive_span:span=12,ramp=5,init=0.5",
          [](const Operands& o) {
            // In [0, 1]; a step against the gradient leads there from beyond, or nowhere.
            const at::Tensor val = o.parameter("current_val"), kept = val + (val.clamp(0, 1) - val).detach(),
                             z = 12 * kept.view({1, -1, 1, 1});
            if (kept.requires_grad()) {
              kept.register_hook([val = val.detach()](const at::Tensor& slope) {
                const at::Tensor back = at::where(val < 0, slope.clamp_max(0), slope);
                return at::where(val > 1, slope.clamp_min(0), back);
              });
            }
            // A key of weight 0 is hidden, and teaches nothing: of the clamp's two slopes there, the one of
            // 0.
            const at::Tensor ramp = (5 + z - away(o)) / 5;
            return masked_softly(o, at::where(ramp > 0, ramp.clamp_max(1), 0.0), o.seen);
          },
          Limit{"adaptive_span:span=1000,init=1", "softmax"},
          Reason{"the authors' code is this formula, in causal order with relative positions"},
          over(1.0, "adaptive_span:span=64,ramp=32")};
}

ProofRow token_span_row() {
  ProofRow row{"token_span:span=14,ramp=5",
               [](const Operands& o) {
                 const at::Tensor z = 14 * linear_of(o, "span_predictor").sigmoid().unsqueeze(3);
                 return masked_softly(o, ((5 + z - away(o)) / 5).clamp(0, 1), o.seen);
               },
               Limit{"token_span:span=1000", "softmax", 1e-12,
                     [](Operands& o) { o.parameters.at("span_predictor.bias").fill_(10.0); }},
               Reason{"the authors' code has spans of heads alone"}, over(1.0, "token_span:span=64,ramp=32")};
  row.rows = true;
  return row;
}

ProofRow expire_span_row() {
  ProofRow row{"expire_span:span=14,ramp=5",
               [](const Operands& o) {
                 const at::Tensor e = 14 * linear_of(o, "span_predictor").sigmoid().unsqueeze(2);
                 const at::Tensor m = (1 + (e - (o.i() - o.j())) / 5).clamp(0, 1);
                 return masked_softly(o, m, o.seen & (o.j() <= o.i()));
               },
               Limit{"expire_span:span=1000", "softmax:causal=true", 1e-12,
                     [](Operands& o) { o.parameters.at("span_predictor.bias").fill_(10.0); }},
               Reason{"the authors' code is this formula, with relative positions beside"},
               over(1.0, "expire_span:span=64,ramp=32")};
  row.rows = true;
  return row;
}

ProofRow head_gate_row() {
  return {"head_gate:log_alpha=0.2",
          [](const Operands& o) {
            const at::Tensor s = o.parameter("log_alpha").sigmoid();
            const at::Tensor gates = (s * 1.2 - 0.1).clamp(0, 1).view({-1, 1, 1});
            return softmax_over(scaled_dots(o), o.seen, o.v) * gates;
          },
          Limit{"head_gate:log_alpha=10", "softmax"},
          Reason{"the authors' code is in TensorFlow 1; chosen_heads_test has the law of its gates"},
          over(2.0, "head_gate:log_alpha=10")};
}

// With one head of two a row, whose weight is 1; chosen_heads_test has more.
ProofRow head_router_row() {
  ProofRow row{"head_router:k=1,detach=false",
               [](const Operands& o) {
                 const at::Tensor logits = at::einsum("bte,he->bht", {o.x, o.parameter("router.weight")});
                 const at::Tensor best = logits == logits.amax(1, true);
                 return softmax_over(scaled_dots(o), o.seen, o.v) * best.unsqueeze(3);
               },
               Reason{"weights of heads stay; k = H with equal ones is softmax / H, in chosen_heads_test"},
               Reason{"the authors' code mixes heads with projections of their own"},
               over(2.0, "head_router:k=1")};
  row.rows = true;
  return row;
}

// alpha (H): the threshold by halving, then its derivative by the implicit function theorem.
at::Tensor entmax_weights(const at::Tensor& scores, const at::Tensor& allowed, const at::Tensor& alpha) {
  const at::Tensor less = (alpha - 1).view({1, -1, 1, 1}), power = 1 / less;
  const at::Tensor sees = allowed.expand_as(scores).any(-1, true);
  const at::Tensor z = at::where(allowed, scores * less, -1e9), known = z.detach();
  at::Tensor high = known.amax(-1, true), low = high - 1;
  for (int step = 0; step < 100; ++step) {
    const at::Tensor middle = (low + high) / 2;
    const at::Tensor enough = (known - middle).clamp_min(0).pow(power.detach()).sum(-1, true) >= 1;
    low = at::where(enough, middle, low);
    high = at::where(enough, high, middle);
  }
  const at::Tensor support = (known > low) & sees;
  const auto above = [&](const at::Tensor& tau) {
    return at::where(support, z - tau, 1.0).clamp_min(1e-200);
  };
  const at::Tensor sum = (above(low).pow(power) * support).sum(-1, true),
                   slope = (power * above(low).pow(power - 1) * support).sum(-1, true).detach();
  const at::Tensor tau = low + at::where(sees, (sum - sum.detach()) / slope, 0.0);
  return at::where(support, above(tau).pow(power), 0.0);
}

ProofRow learned_entmax_row() {
  ProofRow row{"entmax:learned=true,alpha=1.4",
               [](const Operands& o) {
                 const at::Tensor alpha = 1 + o.parameter("pre_alpha").sigmoid();
                 return weighted(entmax_weights(scaled_dots(o), o.seen, alpha), o.v);
               },
               Limit{"entmax:alpha=2", "sparsemax"},
               Peer{"attend_entmax_test: AttendEntmax.AlphasEqualThePackageEntmax"},
               over(2.0, "entmax:learned=true,alpha=1.4")};
  row.memory_exponent = 2.0;
  return row;
}

// The keys of the largest scores, as draws are in evaluation.
at::Tensor highest(const Operands& o, int64_t count) {
  const at::Tensor scores =
      at::where(o.seen, scaled_dots(o).detach(), -std::numeric_limits<double>::infinity());
  const at::Tensor least = std::get<0>(scores.topk(std::min(count, o.keys()), -1)).amin(-1, true);
  return o.seen & (scores >= least);
}

ProofRow hard_row() {
  ProofRow row{
      "hard", [](const Operands& o) { return softmax_over(scaled_dots(o), highest(o, 1), o.v); },
      Limit{"hard:estimator=reinforce,k=33", "softmax"},
      Reason{"the authors' code is in Theano; hard_test has the laws of draws and of their gradients"},
      over(2.0, "hard")};
  row.memory_keys = 64;
  return row;
}

ProofRow hard_pair_row() {
  ProofRow row = hard_row();
  row.text = "hard:estimator=reinforce,k=2";
  row.formula = [](const Operands& o) { return softmax_over(scaled_dots(o), highest(o, 2), o.v); };
  row.cost = Reason{"that of hard, for each draw"};
  return row;
}

// Segments of five keys, one after the other.
ProofRow hierarchical_row() {
  ProofRow row{"hierarchical:segment=5",
               [](const Operands& o) {
                 const at::Tensor all = scaled_dots(o), pairs = o.seen.expand_as(all);
                 std::vector<at::Tensor> scores, values, seen;
                 for (int64_t begin = 0; begin < o.keys(); begin += 5) {
                   const int64_t size = std::min<int64_t>(5, o.keys() - begin);
                   const at::Tensor own = pairs.narrow(3, begin, size);
                   const at::Tensor a = exponential_weights(all.narrow(3, begin, size), own);
                   const at::Tensor product = (o.q * weighted(a, o.k.narrow(2, begin, size))).sum(-1);
                   scores.push_back(product / std::sqrt(static_cast<double>(o.q.size(3))));
                   values.push_back(weighted(a, o.v.narrow(2, begin, size)));
                   seen.push_back(own.any(-1));
                 }
                 const at::Tensor b = exponential_weights(at::stack(scores, -1), at::stack(seen, -1));
                 return (b.unsqueeze(3) * at::stack(values, -1)).sum(-1);
               },
               Limit{"hierarchical:segment=1", "softmax"},
               Reason{"the field's networks pool with one query; hierarchical_test has the paper's"},
               over(2.0, "hierarchical:segment=16")};
  row.memory_exponent = 2.0;
  return row;
}

}  // namespace

std::vector<ProofRow> range_rows() {
  return {hard_row(),          hard_pair_row(),  hierarchical_row(), forgetting_row(),  expire_span_row(),
          adaptive_span_row(), token_span_row(), head_gate_row(),    head_router_row(), learned_entmax_row()};
}

}  // namespace fovea::proofs
