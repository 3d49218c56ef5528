#include "fovea/ops/attend.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>

#include <cmath>

#include "fovea/core/error.h"
#include "tests/ops/expect_attend.h"
#include "tests/ops/tensors.h"

namespace fovea {
namespace {

using test::random, test::random_leaf, test::relative_error;

// The formula, one number at a time.
at::Tensor by_loops(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal) {
  at::Tensor out = at::zeros({q.size(0), q.size(1), q.size(2), v.size(3)}, at::kDouble);
  const int64_t group = q.size(1) / k.size(1);
  for (int64_t b = 0; b < q.size(0); ++b) {
    for (int64_t h = 0; h < q.size(1); ++h) {
      for (int64_t i = 0; i < q.size(2); ++i) {
        double total = 0;
        for (int64_t j = 0; j < k.size(2); ++j) {
          if (causal && j > i) continue;
          const double s = q[b][h][i].dot(k[b][h / group][j]).item<double>() / std::sqrt(double(q.size(3)));
          total += std::exp(s);
          out[b][h][i] += v[b][h / group][j] * std::exp(s);
        }
        out[b][h][i] /= total;
      }
    }
  }
  return out;
}

TEST(Attend, EqualsItsFormula) {
  at::manual_seed(1);
  for (bool causal : {false, true}) {
    const auto q = random({2, 4, 5, 8}), k = random({2, 2, 7, 8}), v = random({2, 2, 7, 3});
    AttendOptions options;
    if (causal) options.causal = CausalAlignment::top_left;
    EXPECT_LT(relative_error(attend(q, k, v, options).out, by_loops(q, k, v, causal)), 1e-14);
  }
}

TEST(Attend, EqualsTorchsOperatorWithGradients) {
  at::manual_seed(2);
  const auto mask = at::rand({2, 1, 33, 47}) > 0.3;
  const auto q = random_leaf({2, 3, 33, 16}), k = random_leaf({2, 3, 47, 16}),
             v = random_leaf({2, 3, 47, 16});
  const auto grad = random({2, 3, 33, 16});
  AttendOptions options;
  options.mask = mask;
  const auto ours = attend(q, k, v, options).out;
  ours.backward(grad);
  std::vector<at::Tensor> got = {q.grad().clone(), k.grad().clone(), v.grad().clone()};
  for (const auto& t : {q, k, v}) t.mutable_grad().reset();
  const auto theirs = at::scaled_dot_product_attention(q, k, v, mask);
  theirs.backward(grad);
  EXPECT_LT(relative_error(ours, theirs), 1e-13);
  EXPECT_LT(relative_error(got[0], q.grad()), 1e-12);
  EXPECT_LT(relative_error(got[1], k.grad()), 1e-12);
  EXPECT_LT(relative_error(got[2], v.grad()), 1e-12);
}

TEST(Attend, BiasIsAddedAndScaleIsFree) {
  at::manual_seed(3);
  const auto q = random({1, 2, 4, 8}), k = random({1, 2, 6, 8}), v = random({1, 2, 6, 8}),
             bias = random({2, 1, 6});
  AttendOptions options;
  options.bias = bias;
  options.scale = 0.7;
  const auto expected = at::matmul(at::softmax(at::matmul(q, k.transpose(2, 3)) * 0.7 + bias, -1), v);
  EXPECT_LT(relative_error(attend(q, k, v, options).out, expected), 1e-14);
}

// bf16 autocast as a training step has it.
class Autocast {
 public:
  explicit Autocast(bool on) { at::autocast::set_autocast_enabled(at::kCPU, on); }
  ~Autocast() { at::autocast::set_autocast_enabled(at::kCPU, false); }
};

// out and the gradients of q, k, v, all in double.
std::vector<at::Tensor> run(const std::vector<at::Tensor>& qkv, at::ScalarType type, bool autocast) {
  std::vector<at::Tensor> leaves;
  for (const auto& t : qkv) leaves.push_back(t.to(type).clone().requires_grad_());
  at::Tensor out;
  {
    const Autocast scope(autocast);
    out = attend(leaves[0], leaves[1], leaves[2]).out;
  }
  EXPECT_EQ(out.scalar_type(), type);
  out.sum().backward();
  std::vector<at::Tensor> all = {out.detach().to(at::kDouble)};
  for (const auto& t : leaves) all.push_back(t.grad().to(at::kDouble));
  return all;
}

// Many short sequences, which the definition computes.
TEST(Attend, NarrowTypesRoundOnlyTheResultAlsoUnderAutocast) {
  at::manual_seed(4);
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    for (const double gain : {0.1, 1.0, 5.0}) {  // flat scores ... one key takes nearly all
      std::vector<at::Tensor> qkv;
      for (const double g : {gain, gain, 1.0}) qkv.push_back((random({2, 32, 15, 32}) * g).to(type));
      ASSERT_EQ(attend_choice(qkv[0].detach().requires_grad_(), qkv[1], qkv[2]).name, "composed");
      const auto exact = run(qkv, at::kDouble, false);
      // The inputs are the same numbers, so what is left is one rounding to 8 or 11 bits, half an ulp, and a
      // little of float32. Gradients of q and k are differences of near equal terms where one key takes all.
      const double half_ulp = type == at::kBFloat16 ? 1.0 / 256 : 1.0 / 2048;
      for (const bool autocast : {false, true}) {
        const auto found = run(qkv, type, autocast);
        for (size_t i = 0; i < found.size(); ++i) {
          EXPECT_LT(relative_error(found[i], exact[i]), 1.1 * half_ulp)
              << type << " gain " << gain << " autocast " << autocast << " tensor " << i;
        }
      }
    }
  }
}

TEST(Attend, FullyMaskedRowGivesZeroAndNoGradient) {
  auto q = random_leaf({1, 1, 3, 4}), k = random_leaf({1, 1, 5, 4}), v = random_leaf({1, 1, 5, 4});
  AttendOptions options;
  options.mask = at::ones({1, 1, 3, 5}, at::kBool);
  options.mask->select(2, 1).fill_(false);
  const auto out = attend(q, k, v, options).out;
  EXPECT_EQ(out.select(2, 1).abs().max().item<double>(), 0.0);
  out.sum().backward();
  EXPECT_EQ(q.grad().select(2, 1).abs().max().item<double>(), 0.0);
  EXPECT_TRUE(at::isfinite(k.grad()).all().item<bool>());
  EXPECT_GT(v.grad().abs().max().item<double>(), 0.0);
}

TEST(Attend, EmptyLengths) {
  EXPECT_EQ(attend(random({1, 2, 0, 4}), random({1, 2, 3, 4}), random({1, 2, 3, 4})).out.numel(), 0);
  const auto none = attend(random({1, 2, 3, 4}), random({1, 2, 0, 4}), random({1, 2, 0, 4})).out;
  EXPECT_EQ(none.abs().max().item<double>(), 0.0);
}

TEST(Attend, WeightsSumToOne) {
  AttendOptions options;
  options.weights = true;
  const auto result = attend(random({2, 3, 5, 8}), random({2, 3, 9, 8}), random({2, 3, 9, 8}), options);
  EXPECT_EQ(result.weights.sizes(), (std::vector<int64_t>{2, 3, 5, 9}));
  EXPECT_LT((result.weights.sum(-1) - 1).abs().max().item<double>(), 1e-14);
}

TEST(Attend, RefusesWhatDoesNotFit) {
  const auto q = random({2, 8, 6, 4});
  const auto expect_refusal = [&](const at::Tensor& k, const at::Tensor& v, const char* text) {
    try {
      attend(q, k, v);
      ADD_FAILURE() << "expected: " << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage);
      EXPECT_NE(std::string(e.what()).find(text), std::string::npos) << e.what();
    }
  };
  expect_refusal(random({2, 8, 6, 5}), random({2, 8, 6, 5}),
                 "share head_dim; found q (2, 8, 6, 4) double cpu");
  expect_refusal(random({2, 3, 6, 4}), random({2, 3, 6, 4}), "multiple of those of k");
  expect_refusal(random({2, 8, 6, 4}), random({2, 8, 7, 4}), "share heads and length");
  expect_refusal(random({8, 6, 4}), random({8, 6, 4}), "4 dimensions");
  expect_refusal(q.to(at::kFloat), q.to(at::kFloat), "share one type");
}

}  // namespace
}  // namespace fovea
