#include "fovea/nn/reversible.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/linear.h>

#include <vector>

#include "tests/nn/proofs/counted_memory.h"
#include "tests/support/errors.h"

namespace fovea::proofs {
namespace {

using nn::ReversibleBranch;
using nn::ReversibleLayer;
using nn::ReversiblePair;

// dropout(tanh(x W)), with a weight of its own.
ReversibleBranch random_branch(int64_t width, double dropout, std::vector<at::Tensor>& weights) {
  weights.push_back((at::randn({width, width}, at::kDouble) / static_cast<double>(width)).requires_grad_());
  const at::Tensor w = weights.back();
  return {[w, dropout](const at::Tensor& x) {
            return at::dropout(at::matmul(x, w.to(x.scalar_type())).tanh(), dropout, /*train=*/dropout > 0);
          },
          {w},
          {}};
}

struct ReversibleStack {
  ReversibleStack(int64_t depth, int64_t width, double dropout) {
    for (int64_t l = 0; l < depth; ++l) {
      const ReversibleBranch f = random_branch(width, dropout, weights);
      layers.push_back({f, random_branch(width, dropout, weights)});
    }
  }

  ReversiblePair plain(ReversiblePair x) const {
    for (const ReversibleLayer& layer : layers) {
      x.first = x.first + layer.f.function(x.second);
      x.second = x.second + layer.g.function(x.first);
    }
    return x;
  }

  std::vector<at::Tensor> weights;
  std::vector<ReversibleLayer> layers;
};

// Results, then gradients of both inputs and of every weight.
template <class Run>
std::vector<at::Tensor> with_gradients_of(const ReversibleStack& stack, const ReversiblePair& x,
                                          const Run& run) {
  at::manual_seed(41);
  std::vector<at::Tensor> leaves = {x.first.clone().requires_grad_(), x.second.clone().requires_grad_()};
  leaves.insert(leaves.end(), stack.weights.begin(), stack.weights.end());
  const ReversiblePair y = run(ReversiblePair{leaves[0], leaves[1]});
  std::vector<at::Tensor> results = {y.first.detach(), y.second.detach()};
  const auto gradients = torch::autograd::grad({(y.first.sin() + y.second.square()).sum()}, leaves);
  results.insert(results.end(), gradients.begin(), gradients.end());
  return results;
}

TEST(Reversible, IsThePlainLayers) {
  at::manual_seed(42);
  for (const double dropout : {0.0, 0.3}) {
    const ReversibleStack stack(5, 6, dropout);
    const ReversiblePair x{at::randn({4, 6}, at::kDouble), at::randn({4, 6}, at::kDouble)};
    const auto plain = with_gradients_of(stack, x, [&](const ReversiblePair& p) { return stack.plain(p); });
    const auto found =
        with_gradients_of(stack, x, [&](const ReversiblePair& p) { return nn::reversible(stack.layers, p); });
    ASSERT_EQ(found.size(), plain.size());
    for (size_t i = 0; i < plain.size(); ++i) {
      EXPECT_LT((found[i] - plain[i]).abs().max().item<double>(), 1e-13) << i << ' ' << dropout;
    }
  }
}

// A weight of all branches has the sum of their gradients, and learns where no input does.
TEST(Reversible, WeightsMayBeShared) {
  at::manual_seed(43);
  ReversibleStack stack(3, 6, 0.0);
  for (ReversibleLayer& layer : stack.layers) layer.f = layer.g = stack.layers[0].f;
  const at::Tensor w = stack.weights[0];
  const ReversiblePair x{at::randn({4, 6}, at::kDouble), at::randn({4, 6}, at::kDouble)};
  const auto gradient = [&](const ReversiblePair& y) {
    return torch::autograd::grad({(y.first + 2 * y.second).sum()}, {w})[0];
  };
  EXPECT_LT((gradient(nn::reversible(stack.layers, x)) - gradient(stack.plain(x))).abs().max().item<double>(),
            1e-13);
}

TEST(Reversible, BuffersCountEachBatchOnce) {
  at::manual_seed(44);
  const auto norm = std::make_shared<torch::nn::BatchNorm1dImpl>(6);
  const auto linear = std::make_shared<torch::nn::LinearImpl>(6, 6);
  const ReversiblePair x{at::randn({8, 6}).requires_grad_(), at::randn({8, 6})};
  const auto y = nn::reversible({{nn::reversible_branch(norm), nn::reversible_branch(linear)}}, x);
  const at::Tensor mean = norm->running_mean.clone();
  (y.first.square().sum() + y.second.sum()).backward();
  EXPECT_TRUE(norm->running_mean.equal(mean));
  EXPECT_EQ(norm->num_batches_tracked.item<int64_t>(), 1);
  EXPECT_TRUE(norm->weight.grad().defined() && linear->weight.grad().defined());
}

// What the graph holds between forward and backward, and the most that both take, beside weights.
struct Taken {
  double held, peak;
};

template <class Run>
Taken taken_by(int64_t depth, const Run& run) {
  const ReversibleStack stack(depth, 8, 0.0);
  const ReversiblePair x{at::randn({20000, 8}, at::kDouble).requires_grad_(),
                         at::randn({20000, 8}, at::kDouble)};
  const int64_t before = bytes_out();
  reset_peak();
  const ReversiblePair y = run(stack, x);
  const int64_t held = bytes_out() - before;
  torch::autograd::grad({y.first.sum() + y.second.sum()}, {x.first, stack.weights[0]});
  return {static_cast<double>(held), static_cast<double>(peak_bytes_out() - before)};
}

TEST(Reversible, MemoryDoesNotGrowWithDepth) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitizer has an allocator of its own";
#endif
  const auto reversed = [](const ReversibleStack& stack, const ReversiblePair& x) {
    return nn::reversible(stack.layers, x);
  };
  const auto plain = [](const ReversibleStack& stack, const ReversiblePair& x) { return stack.plain(x); };
  const Taken few = taken_by(4, reversed), many = taken_by(32, reversed);
  EXPECT_LT(many.held / few.held, 1.2);  // random states
  EXPECT_LT(many.peak / few.peak, 1.1);
  EXPECT_NEAR(taken_by(32, plain).held / taken_by(4, plain).held, 8.0, 0.5);
}

TEST(Reversible, RefusesWhatItCannotTakeBack) {
  const ReversibleStack stack(2, 6, 0.0);
  const ReversiblePair x{at::randn({4, 6}, at::kDouble).requires_grad_(), at::randn({4, 6}, at::kDouble)};
  const auto refuses = [](const char* part, auto&& call) {
    expect_error(ErrorKind::usage, {"[reversible]", part}, call);
  };
  refuses("both inputs must be of one shape and type", [&] {
    nn::reversible(stack.layers, {x.first, at::randn({4, 7}, at::kDouble)});
  });
  refuses("both inputs must be of one shape and type", [&] {
    nn::reversible(stack.layers, {x.first, at::randn({4, 6})});
  });
  const ReversibleBranch narrows{[](const at::Tensor& t) { return t.narrow(1, 0, 3); }, {}, {}};
  refuses("what a branch is given and gives", [&] { nn::reversible({{narrows, narrows}}, x); });
  refuses("its gradients have no gradients", [&] {
    torch::autograd::grad({nn::reversible(stack.layers, x).first.sum()}, {x.first}, {}, true,
                          /*create_graph=*/true);
  });
  refuses("changed in place", [&] {
    const ReversiblePair y = nn::reversible(stack.layers, x);
    {
      const torch::NoGradGuard no_grad;
      stack.weights[1].mul_(2);
    }
    y.first.sum().backward();
  });
  const ReversiblePair same = nn::reversible({}, x);
  EXPECT_TRUE(same.first.is_same(x.first) && same.second.is_same(x.second));
}

}  // namespace
}  // namespace fovea::proofs
