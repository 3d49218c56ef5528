#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "fovea/kernels/dense_programs.h"
#include "fovea/ops/attend_fused.h"
#include "fovea/ops/call_functors.h"
#include "tests/ops/attend_cases.h"
#include "tests/ops/expect_attend.h"

namespace fovea {
namespace {

using test::norm_error;

at::Tensor leaf(at::IntArrayRef shape) { return at::randn(shape).requires_grad_(); }

TEST(AttendBias, EqualsTorchsOperatorWithGradients) {
  at::manual_seed(31);
  const auto q = leaf({2, 4, 100, 32}), k = leaf({2, 4, 130, 32}), v = leaf({2, 4, 130, 32}),
             bias = leaf({1, 4, 100, 130}), grad = at::randn({2, 4, 100, 32});
  AttendOptions options;
  options.bias = bias;
  ASSERT_EQ(attend_choice(q, k, v, options).name, "fused");
  const auto ours = attend(q, k, v, options).out;
  const auto got = torch::autograd::grad({ours}, {q, k, v, bias}, {grad});
  const auto theirs = at::scaled_dot_product_attention(q, k, v, bias);
  const auto expected = torch::autograd::grad({theirs}, {q, k, v, bias}, {grad});
  EXPECT_LT(norm_error(ours, theirs), 2e-6);
  for (size_t i = 0; i < got.size(); ++i) EXPECT_LT(norm_error(got[i], expected[i]), 5e-6) << i;
}

// A number of one pair alone has its gradient stored, where it can be seen; a shared one's is added up.
TEST(AttendBias, NumbersOfOnePairOrOfMany) {
  at::manual_seed(35);
  const auto q = at::randn({2, 3, 130, 16}), k = at::randn({2, 3, 77, 16}), v = at::randn({2, 3, 77, 16}),
             grad = at::randn({2, 3, 130, 16});
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const auto& shape : std::vector<std::vector<int64_t>>{
             {2, 3, 130, 77}, {1, 3, 130, 77}, {2, 1, 130, 77}, {2, 3, 1, 77}, {130, 77}}) {
      AttendOptions options;
      options.causal = CausalAlignment::top_left;
      options.window = AttendWindow{40, 0};
      const auto bias = at::randn(at::IntArrayRef(shape)).to(type).requires_grad_();
      options.bias = bias;
      const auto learned = [&](const AttendResult& result) {
        return torch::autograd::grad({result.out}, {bias}, {grad.to(result.out.scalar_type())})[0];
      };
      const auto got = learned(attend_fused(q, k, v, options)),
                 expected = learned(
                     attend_composed(q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble), options));
      ASSERT_EQ(got.scalar_type(), type);
      EXPECT_LT(norm_error(got, expected), type == at::kFloat  ? 2e-6
                                           : type == at::kHalf ? 4e-4
                                                               : 3e-3)
          << type << " " << bias.sizes();
      if (shape.size() == 4 && shape[2] > 1) {
        EXPECT_TRUE(got.triu(1).eq(0).all().item<bool>());
        EXPECT_TRUE(got.tril(-41).eq(0).all().item<bool>());
      }
    }
  }
}

// What adds the same to every key of a query changes no weight.
TEST(AttendBias, ABiasByQueryLearnsNothing) {
  at::manual_seed(32);
  const auto q = leaf({1, 2, 60, 16}), k = leaf({1, 2, 70, 16}), v = leaf({1, 2, 70, 16}),
             bias = leaf({1, 2, 60, 1});
  AttendOptions options;
  const auto plain = attend_fused(q, k, v, options).out;
  options.bias = bias;
  const auto out = attend_fused(q, k, v, options).out;
  EXPECT_LT(norm_error(out, plain), 1e-6);
  EXPECT_LT(torch::autograd::grad({out.square().sum()}, {bias})[0].abs().max().item<float>(), 1e-5);
}

// The table of 2 R + 1 distances as the pairs that it stands for.
TEST(AttendBias, ARelativeTableIsABiasByDistance) {
  at::manual_seed(33);
  const auto q = at::randn({1, 3, 90, 16}), k = at::randn({1, 3, 120, 16}), v = at::randn({1, 3, 120, 16});
  const auto distance = at::arange(120).unsqueeze(0) - at::arange(90).unsqueeze(1);
  for (const int64_t reach : {0, 7, 300}) {
    const auto table = leaf({3, 2 * reach + 1});
    AttendOptions relative, dense;
    relative.relative_table = table;
    dense.bias = table.index({at::indexing::Slice(), distance.clamp(-reach, reach) + reach});
    const auto a = attend(q, k, v, relative).out, b = attend(q, k, v, dense).out;
    EXPECT_LT(norm_error(a, b), 1e-6) << reach;
    const auto grad = at::randn_like(a);
    const auto got = torch::autograd::grad({a}, {table}, {grad})[0],
               expected = torch::autograd::grad({b}, {table}, {grad})[0];
    EXPECT_LT((got - expected).norm().item<float>(), 5e-6 * grad.norm().item<float>()) << reach;
  }
}

TEST(AttendBias, LearnedAlibiEqualsTheFunctor) {
  at::manual_seed(34);
  const auto q = at::randn({2, 4, 80, 16});
  AttendOptions learned, fixed;
  learned.alibi_slopes = (at::rand({4}) * 0.1).requires_grad_();
  fixed.alibi_slopes = learned.alibi_slopes->detach();
  EXPECT_LT(norm_error(attend(q, q, q, learned).out, attend(q, q, q, fixed).out), 1e-6);
}

TEST(AttendBias, TwiceDifferentiable) {
  at::manual_seed(35);
  const auto penalty = [](at::ScalarType type) {
    at::manual_seed(36);
    const auto make = [&](at::IntArrayRef shape) { return at::randn(shape).to(type).requires_grad_(); };
    const auto q = make({2, 2, 20, 8}), k = make({2, 2, 24, 8}), v = make({2, 2, 24, 8}),
               bias = make({1, 2, 20, 24}), table = make({2, 11});
    AttendOptions options;
    options.bias = bias;
    options.relative_table = table;
    const auto run = type == at::kDouble ? attend : attend_fused;
    const auto first = torch::autograd::grad({run(q, k, v, options).out.square().sum()}, {bias, table}, {},
                                             /*retain_graph=*/true, /*create_graph=*/true);
    return torch::autograd::grad({first[0].square().sum() + first[1].square().sum()}, {q, k, v, bias, table});
  };
  const auto got = penalty(at::kFloat), exact = penalty(at::kDouble);
  for (size_t i = 0; i < got.size(); ++i) EXPECT_LT(norm_error(got[i], exact[i]), 1e-5) << i;
}

// A bias that all batch entries share sums over them in one order.
TEST(AttendBias, TheSameBitsOnAnyNumberOfThreads) {
  at::manual_seed(37);
  const int before = at::get_num_threads();
  const auto q = at::randn({37, 2, 49, 16}), bias = leaf({2, 49, 49}), grad = at::randn({37, 2, 49, 16});
  AttendOptions options;
  options.bias = bias;
  const auto learned = [&](int threads) {
    at::set_num_threads(threads);
    return torch::autograd::grad({attend_fused(q, q, q, options).out}, {bias}, {grad})[0];
  };
  const at::Tensor one = learned(1);
  EXPECT_TRUE(at::equal(one, learned(2)));
  EXPECT_TRUE(at::equal(one, learned(5)));
  at::set_num_threads(before);
}

// The dense masks' answer for rectangles against each of their pairs.
void expect_cover_is_true(const AttendFunctors& functors, const at::Tensor& allowed) {
  const TileProgram program = functors.program();
  Random random(7);
  const int64_t n = allowed.size(2), m = allowed.size(3);
  int said[3] = {};
  for (int trial = 0; trial < 2000; ++trial) {
    TileRange t;
    t.batch = static_cast<int32_t>(random.below(2));
    t.head = 1;
    t.q0 = static_cast<int64_t>(random.below(n));
    t.q1 = t.q0 + 1 + static_cast<int64_t>(random.below(std::min<int64_t>(n - t.q0, 6)));
    t.k0 = static_cast<int64_t>(random.below(m));
    t.k1 = t.k0 + 1 + static_cast<int64_t>(random.below(std::min<int64_t>(m - t.k0, 6)));
    const at::Tensor part = allowed[t.batch][t.head].slice(0, t.q0, t.q1).slice(1, t.k0, t.k1);
    const Cover exact = part.all().item<bool>()   ? Cover::full
                        : part.any().item<bool>() ? Cover::partial
                                                  : Cover::skip;
    ASSERT_EQ(program.cover(program.functors, t), exact);
    ++said[static_cast<int>(exact)];
  }
  for (const int count : said) EXPECT_GT(count, 20);
}

TEST(DenseMasks, KnowEveryRectangle) {
  at::manual_seed(38);
  const at::Tensor coarse = at::rand({2, 1, 6, 7}) > 0.5;
  const at::Tensor pairs = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3).expand({2, 3, 48, 56});
  expect_cover_is_true(BlockMaskFunctors(coarse, {8, 8}, 48, 56), pairs);
  const at::Tensor wide = coarse.repeat_interleave(3, 2).repeat_interleave(7, 3).expand({2, 3, 18, 49});
  expect_cover_is_true(BlockMaskFunctors(coarse, {3, 7}, 17, 47), wide.slice(2, 0, 17).slice(3, 0, 47));
  expect_cover_is_true(DenseMaskFunctors(pairs, 48, 56), pairs);
  expect_cover_is_true(DenseMaskFunctors(pairs.slice(2, 0, 1), 48, 56),
                       pairs.slice(2, 0, 1).expand({2, 3, 48, 56}));
}

}  // namespace
}  // namespace fovea
