#include "tests/nn/proofs/kernel_map_rows.h"

#include <cmath>
#include <string>

#include "tests/nn/proofs/formulas.h"

namespace fovea::proofs {
namespace {

// a_ij / sum_j a_ij over what is seen, 0 where nothing is.
at::Tensor shares(const at::Tensor& a, const at::Tensor& seen) {
  const at::Tensor own = at::where(seen, a, at::zeros_like(a)), sum = own.sum(-1, true);
  return own / at::where(sum > 0, sum, at::ones_like(sum));
}

at::Tensor feature_products(const at::Tensor& q, const at::Tensor& k) {
  return (q.unsqueeze(3) * k.unsqueeze(2)).sum(-1);
}

at::Tensor one_more_than_elu(const at::Tensor& x) { return at::where(x > 0, x + 1, x.exp()); }

void equal_keys(Operands& o) { o.k = o.k.narrow(2, 0, 1).expand_as(o.k).contiguous(); }

ProofRow linear_row() {
  return {"linear",
          [](const Operands& o) {
            return weighted(shares(feature_products(one_more_than_elu(o.q), one_more_than_elu(o.k)), o.seen),
                            o.v);
          },
          Limit{"linear", "softmax:scale=0", 1e-12, equal_keys},
          Peer{"kernel_map_peers_test: KernelMapPeers.Linear"}, CostLaw{1.0, always("linear")}};
}

// w_r . x / D^(1/4)
at::Tensor directions(const Operands& o, const at::Tensor& x) {
  return (x.unsqueeze(3) * o.parameter("projection_matrix")).sum(-1) /
         std::pow(static_cast<double>(x.size(3)), 0.25);
}

at::Tensor positive_features(const Operands& o, const at::Tensor& x) {
  const double root = std::sqrt(static_cast<double>(x.size(3)));
  return (directions(o, x) - x.square().sum(-1, true) / (2 * root)).exp() /
         std::sqrt(static_cast<double>(o.parameter("projection_matrix").size(0)));
}

ProofRow performer_row() {
  return {
      "performer:features=5,seed=3",
      [](const Operands& o) {
        const at::Tensor products = feature_products(positive_features(o, o.q), positive_features(o, o.k));
        return weighted(shares(products, o.seen), o.v);
      },
      Limit{"performer", "softmax:scale=0", 1e-12, equal_keys},
      Peer{"kernel_map_peers_test: KernelMapPeers.Performer"}, CostLaw{1.0, always("performer:features=32")}};
}

ProofRow performer_relu_row() {
  return {"performer:kernel=relu,orthogonal=false,features=7",
          [](const Operands& o) {
            const auto map = [&](const at::Tensor& x) { return directions(o, x).clamp_min(0) + 0.001; };
            return weighted(shares(feature_products(map(o.q), map(o.k)), o.seen), o.v);
          },
          Limit{"performer:kernel=relu", "softmax:scale=0", 1e-12, equal_keys},
          Peer{"kernel_map_peers_test: KernelMapPeers.PerformerOfRelu"},
          CostLaw{1.0, always("performer:kernel=relu,features=32")}};
}

ProofRow efficient_row() {
  return {"efficient",
          [](const Operands& o) {
            const at::Tensor keys = o.j() < o.lengths.view({-1, 1, 1, 1});
            const at::Tensor over_channels = exponential_weights(o.q, at::ones({1}, at::kBool));
            const at::Tensor over_positions = exponential_weights(o.k.transpose(2, 3), keys).transpose(2, 3);
            return weighted(feature_products(over_channels, over_positions), o.v);
          },
          Limit{"efficient", "softmax:scale=0", 1e-12, equal_keys},
          Peer{"kernel_map_peers_test: KernelMapPeers.Efficient"}, CostLaw{1.0, always("efficient")}};
}

}  // namespace

std::vector<ProofRow> kernel_map_rows() {
  return {linear_row(), performer_row(), performer_relu_row(), efficient_row()};
}

}  // namespace fovea::proofs
