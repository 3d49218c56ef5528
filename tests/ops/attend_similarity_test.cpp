#include "fovea/ops/attend_similarity.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <string>

#include "fovea/core/error.h"
#include "fovea/ops/attend_fused.h"
#include "fovea/ops/attend_observe.h"
#include "fovea/ops/attend_packed.h"
#include "tests/ops/attend_cases.h"
#include "tests/ops/expect_scores.h"
#include "tests/ops/similarity_scores.h"
#include "tests/support/numbers.h"

namespace fovea {
namespace {

using test::Attention, test::Tensors, test::expect_same;
using test::cosines, test::each_head, test::half_squares, test::repeated, test::similarity_tolerance,
    test::width_rounding;

at::Tensor causal(int64_t queries, int64_t keys) {
  return at::arange(keys) <= at::arange(queries).unsqueeze(1) + (keys - queries);
}

Tensors operands(int64_t n, int64_t m, int64_t dim, at::ScalarType type = at::kFloat) {
  return {test::make_operand({2, 4, n, dim}, type, "BTHD"),
          test::make_operand({2, 2, m, dim}, type, "padded"),
          test::make_operand({2, 2, m, 24}, type, "contiguous")};
}

// causal(), as a window: short calls without one go to the definition.
AttendOptions causal_options(const Tensors& t, AttendSimilarity similarity) {
  AttendOptions options;
  options.similarity = std::move(similarity);
  options.window = AttendWindow{std::nullopt, t[1].size(2) - t[0].size(2)};
  return options;
}

at::Tensor attend_as(const std::string& path, const Tensors& t, const AttendOptions& options) {
  EXPECT_EQ(attend_choice(t[0], t[1], t[2], options).name, path);
  return attend(t[0], t[1], t[2], options).out;
}

void expect_cosine(const Tensors& qkv, const at::Tensor& scales) {
  const at::Tensor seen = causal(qkv[0].size(2), qkv[1].size(2));
  const double limit = similarity_tolerance(qkv[0].scalar_type());
  expect_same([](const Tensors& t) { return attend_as("fused", t, causal_options(t, Cosine{7.5})); },
              [&](const Tensors& t) { return test::softmax_times(cosines(t[0], t[1]) * 7.5, t[2], seen); },
              qkv, limit, "a number");
  Tensors inputs = qkv;
  inputs.push_back(scales);
  expect_same([](const Tensors& t) { return attend_as("fused", t, causal_options(t, Cosine{t[3]})); },
              [&](const Tensors& t) {
                return test::softmax_times(cosines(t[0], t[1]) * each_head(t[3]), t[2], seen);
              },
              inputs, limit, "numbers of heads");
}

void expect_gaussian(const Tensors& qkv, const at::Tensor& widths) {
  const at::Tensor seen = causal(qkv[0].size(2), qkv[1].size(2));
  const double limit = similarity_tolerance(qkv[0].scalar_type());
  expect_same(
      [](const Tensors& t) { return attend_as("fused", t, causal_options(t, Gaussian{2.5})); },
      [&](const Tensors& t) { return test::softmax_times(half_squares(t[0], t[1]) / 6.25, t[2], seen); }, qkv,
      limit, "a number");
  Tensors inputs = qkv;
  inputs.push_back(widths);
  expect_same([](const Tensors& t) { return attend_as("fused", t, causal_options(t, Gaussian{t[3]})); },
              [&](const Tensors& t) {
                return test::softmax_times(half_squares(t[0], t[1]) / each_head(t[3]).square(), t[2], seen);
              },
              inputs, limit, "numbers of heads", width_rounding(qkv, widths, seen));
}

TEST(AttendSimilarity, CosineIsTorchsCosine) {
  at::manual_seed(71);
  for (const int64_t n : {1, 15, 16, 17, 63, 64, 100, 257}) {
    expect_cosine(operands(n, n + 3, n > 64 ? 16 : 40), at::rand({4}) * 10 + 1);
  }
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    expect_cosine(operands(130, 150, 64, type), at::rand({4}) * 10 + 1);
  }
}

TEST(AttendSimilarity, GaussianIsTheDistance) {
  at::manual_seed(72);
  for (const int64_t n : {1, 15, 16, 17, 63, 64, 100, 257}) {
    expect_gaussian(operands(n, n + 3, n > 64 ? 16 : 40), at::rand({4}) + 1.5);
  }
  expect_gaussian(operands(50, 60, 1), at::rand({4}) * 0.2 + 0.3);
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    expect_gaussian(operands(130, 150, 32, type), at::rand({4}) + 1.5);
  }
}

// In float64 the definition itself, to finite differences.
TEST(AttendSimilarity, TheDefinitionIsTheFormula) {
  at::manual_seed(73);
  Tensors inputs = test::in_double(operands(9, 12, 5));
  inputs.push_back(at::rand({4}, at::kDouble) + 0.5);
  const at::Tensor seen = causal(9, 12);
  expect_same([](const Tensors& t) { return attend_as("composed", t, causal_options(t, Cosine{t[3]})); },
              [&](const Tensors& t) {
                return test::softmax_times(cosines(t[0], t[1]) * each_head(t[3]), t[2], seen);
              },
              inputs, 1e-13, "cosine");
  expect_same([](const Tensors& t) { return attend_as("composed", t, causal_options(t, Gaussian{t[3]})); },
              [&](const Tensors& t) {
                return test::softmax_times(half_squares(t[0], t[1]) / each_head(t[3]).square(), t[2], seen);
              },
              inputs, 1e-13, "gaussian");
}

TEST(AttendSimilarity, FewQueriesDecode) {
  at::manual_seed(74);
  const c10::NoGradGuard no_grad;
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const Tensors t = operands(2, 300, 64, type), exact = test::in_double(t);
    const at::Tensor seen = causal(2, 300), numbers = at::rand({4}) + 3.0, wide = numbers.to(at::kDouble);
    const auto error = [](const at::Tensor& a, const at::Tensor& b) {
      return ((a.to(at::kDouble) - b).norm() / b.norm()).item<double>();
    };
    EXPECT_LE(error(attend_as("decode", t, causal_options(t, Cosine{numbers})),
                    test::softmax_times(cosines(exact[0], exact[1]) * each_head(wide), exact[2], seen)),
              similarity_tolerance(type));
    EXPECT_LE(error(attend_as("decode", t, causal_options(t, Gaussian{numbers})),
                    test::softmax_times(half_squares(exact[0], exact[1]) / each_head(wide).square(), exact[2],
                                        seen)),
              similarity_tolerance(type));
  }
}

// As torch's normalize: 0 / max(0, 1e-12) = 0.
TEST(AttendSimilarity, AVectorOfZeroIsLikeNone) {
  at::manual_seed(75);
  Tensors t = operands(40, 40, 16);
  for (auto& x : t) x = x.contiguous();
  t[0].select(2, 7).zero_();
  t[1].select(2, 11).zero_();
  AttendOptions options;
  options.similarity = Cosine{9.0};
  options.mask = at::ones({40, 40}, at::kBool);
  const auto unit = [](const at::Tensor& x) { return x / x.norm(2, {-1}, true).clamp_min(1e-12); };
  const Attention ours = [&](const Tensors& x) { return attend_as("fused", x, options); };
  const Attention exact = [&](const Tensors& x) {
    return test::softmax_times(at::matmul(unit(x[0]) * 9.0, unit(repeated(x[1], x[0])).transpose(2, 3)),
                               x[2]);
  };
  const at::Tensor weights = at::randn({2, 4, 40, 24});
  const Tensors got = test::with_gradients(ours, t, weights),
                want = test::with_gradients(exact, test::in_double(t), weights);
  EXPECT_LT((got[0].select(2, 7) - repeated(t[2], t[0]).mean(2)).abs().max().item<float>(), 1e-5f);
  EXPECT_LT((got[0] - want[0]).abs().max().item<double>(), 1e-5);
  for (const size_t i : {1, 2}) {
    const int64_t zero = i == 1 ? 7 : 11;
    // Its own gradient is that of x / 1e-12, the others' do not notice.
    const at::Tensor own = got[i].select(2, zero), others = got[i].clone(), exact_others = want[i].clone();
    EXPECT_TRUE(at::allclose(own.to(at::kDouble), want[i].select(2, zero), 1e-3, 1e6));
    EXPECT_GT(own.abs().max().item<float>(), 1e9f);
    others.select(2, zero).zero_();
    exact_others.select(2, zero).zero_();
    EXPECT_LT(((others - exact_others).norm() / exact_others.norm()).item<double>(), 1e-5);
  }
}

// The last key is seen by no query: NaN there changes no bit.
TEST(AttendSimilarity, WhatIsHiddenHasNoInfluence) {
  at::manual_seed(76);
  for (const auto type : {at::kFloat, at::kBFloat16, at::kDouble}) {
    Tensors inputs = operands(190, 191, 16, type);
    inputs.push_back(at::rand({4}) + 1.0);
    AttendOptions options;
    options.causal = CausalAlignment::top_left;
    const at::Tensor weights = at::randn({2, 4, 190, 24});
    const auto run = [&](bool gaussian) {
      return test::with_gradients(
          [&](const Tensors& t) {
            if (gaussian) options.similarity = Gaussian{t[3]};
            if (!gaussian) options.similarity = Cosine{t[3]};
            return attend_as(type == at::kDouble ? "composed" : "fused", t, options);
          },
          inputs, weights);
    };
    const Tensors clean[] = {run(false), run(true)};
    for (const double poison : {test::kNan, test::kInfinity}) {
      for (const size_t which : {1, 2}) {
        const at::Tensor number = inputs[which].select(2, 190).select(2, 3), kept = number.clone();
        number.fill_(poison);
        for (const bool gaussian : {false, true}) {
          const Tensors spoilt = run(gaussian);
          for (size_t i = 0; i < spoilt.size(); ++i) {
            EXPECT_TRUE(at::equal(spoilt[i], clean[gaussian][i]))
                << type << ' ' << poison << ' ' << gaussian << i;
          }
        }
        number.copy_(kept);
      }
    }
  }
}

TEST(AttendSimilarity, OtherNormalisersKnowTheWholeDistance) {
  at::manual_seed(77);
  Tensors inputs = operands(70, 80, 24);
  inputs.push_back(at::rand({4}) + 1.5);
  const auto scores = [](const Tensors& t) { return half_squares(t[0], t[1]) / each_head(t[3]).square(); };
  const auto options = [](const Tensors& t, AttendNormaliser normaliser) {
    AttendOptions all;
    all.similarity = Gaussian{t[3]};
    all.normaliser = std::move(normaliser);
    return all;
  };
  expect_same(
      [&](const Tensors& t) { return attend_as("fused", t, options(t, Sigmoid{0.5})); },
      [&](const Tensors& t) { return at::matmul(at::sigmoid(scores(t) + 0.5), repeated(t[2], t[0])); },
      inputs, 1e-5, "sigmoid");
  expect_same([&](const Tensors& t) { return attend_as("fused", t, options(t, SoftmaxSink{})); },
              [&](const Tensors& t) {
                const at::Tensor powers = scores(t).exp();
                return at::matmul(powers / (1.0 + powers.sum(-1, true)), repeated(t[2], t[0]));
              },
              inputs, 1e-5, "sink");
  expect_same(
      [&](const Tensors& t) {
        AttendOptions with_lse = options(t, Softmax{});
        with_lse.lse = true;
        const auto result = attend(t[0], t[1], t[2], with_lse);
        return at::cat({result.out, result.lse.unsqueeze(3)}, 3);
      },
      [&](const Tensors& t) {
        return at::cat({test::softmax_times(scores(t), t[2]), at::logsumexp(scores(t), {-1}, true)}, 3);
      },
      inputs, 1e-5, "lse");
}

TEST(AttendSimilarity, WhatChangesScoresFurther) {
  at::manual_seed(78);
  const Tensors t = operands(70, 80, 24);
  AttendOptions options;
  options.similarity = Gaussian{2.0};
  options.softcap = 2.0;
  const Attention exact = [](const Tensors& x) {
    return test::softmax_times(at::tanh(half_squares(x[0], x[1]) / 4.0 / 2.0) * 2.0, x[2]);
  };
  {
    const c10::NoGradGuard no_grad;
    const at::Tensor want = exact(test::in_double(t));
    EXPECT_LT(((attend_as("fused", t, options) - want).norm() / want.norm()).item<double>(), 1e-5);
  }
  Tensors leaf = t;
  leaf[1] = t[1].detach().requires_grad_();
  EXPECT_EQ(attend_choice(leaf[0], leaf[1], leaf[2], options).refusals[1],
            "fused: a Gaussian score that is changed further wants a gradient");
  expect_same([&](const Tensors& x) { return attend(x[0], x[1], x[2], options).out; }, exact, t, 1e-5,
              "capped");
  // A functor that only hides, or only adds, leaves it to the kernel.
  options.softcap.reset();
  options.functors = bind(Alibi{float_table(at::full({4}, 0.1f))}, Causal(10));
  expect_same([&](const Tensors& x) { return attend_as("fused", x, options); },
              [](const Tensors& x) {
                const at::Tensor apart = (at::arange(70).unsqueeze(1) - at::arange(80)).abs();
                return test::softmax_times(half_squares(x[0], x[1]) / 4.0 - apart * double{0.1f}, x[2],
                                           causal(70, 80));
              },
              t, 1e-5, "alibi");
}

TEST(AttendSimilarity, TwiceDifferentiable) {
  at::manual_seed(79);
  Tensors inputs = operands(20, 24, 8);
  inputs.push_back(at::rand({4}) + 1.0);
  for (const bool gaussian : {false, true}) {
    const auto penalty = [&](const Tensors& given) {
      Tensors t;
      for (const auto& x : given) t.push_back(x.detach().requires_grad_());
      const AttendOptions options =
          gaussian ? causal_options(t, Gaussian{t[3]}) : causal_options(t, Cosine{t[3]});
      const at::Tensor out =
          attend_as(given[0].scalar_type() == at::kDouble ? "composed" : "fused", t, options);
      at::Tensor sum = at::zeros({}, out.options());
      for (const auto& g : torch::autograd::grad({out.square().sum()}, t, {}, true, true)) {
        sum = sum + g.square().sum();
      }
      return torch::autograd::grad({sum}, t);
    };
    const Tensors got = penalty(inputs), exact = penalty(test::in_double(inputs));
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_LT(((got[i] - exact[i]).norm() / exact[i].norm()).item<double>(), 2e-5) << gaussian << ' ' << i;
    }
  }
}

TEST(AttendSimilarity, IsObserved) {
  at::manual_seed(80);
  const Tensors t = operands(90, 110, 24);
  const at::Tensor numbers = at::rand({4}) + 1.5;
  for (const bool gaussian : {false, true}) {
    AttendOptions options;
    options.similarity = gaussian ? AttendSimilarity(Gaussian{numbers}) : AttendSimilarity(Cosine{numbers});
    const Tensors exact = test::in_double(t);
    const at::Tensor numbers_exact = each_head(numbers.to(at::kDouble));
    const at::Tensor weights =
        at::softmax(gaussian ? half_squares(exact[0], exact[1]) / numbers_exact.square()
                             : cosines(exact[0], exact[1]) * numbers_exact,
                    -1);
    AttendObservation wanted;
    wanted.received = true;
    const auto received = attend_observed(t[0], t[1], t[2], options, wanted).observed.received;
    EXPECT_TRUE(at::allclose(received.to(at::kDouble), weights.sum(2), 1e-5, 1e-5)) << gaussian;
  }
}

TEST(AttendSimilarity, PackedIsSeparate) {
  at::manual_seed(81);
  const at::Tensor q = at::randn({50, 4, 16}), k = at::randn({50, 2, 16}), v = at::randn({50, 2, 8});
  const at::Tensor offsets = at::tensor({int64_t{0}, int64_t{20}, int64_t{50}});
  const auto rows = [](const at::Tensor& t) { return t.transpose(0, 1).unsqueeze(0).slice(2, 20, 50); };
  for (const AttendSimilarity& similarity :
       {AttendSimilarity(Cosine{5.0}), AttendSimilarity(Gaussian{2.0})}) {
    AttendOptions options;
    options.similarity = similarity;
    const at::Tensor packed = attend_packed(q, k, v, offsets, offsets, options);
    EXPECT_TRUE(at::equal(rows(packed), attend(rows(q), rows(k), rows(v), options).out));
  }
}

TEST(AttendSimilarity, RefusesWhatDoesNotFit) {
  const at::Tensor q = at::randn({1, 2, 5, 8});
  const auto refusal = [&](const AttendOptions& options) -> std::string {
    try {
      attend(q, q, q, options);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  AttendOptions options;
  options.similarity = Gaussian{0.0};
  EXPECT_NE(refusal(options).find(
                "[attend] the width of a Gaussian must be above 0, within 1e-15 ... 1e15; found 0"),
            std::string::npos);
  options.similarity = Cosine{at::ones({3})};
  EXPECT_NE(
      refusal(options).find("[attend] the scale of a cosine must be one number, or one for each head of q"),
      std::string::npos);
  options.similarity = Cosine{};
  options.scale = 2.0;
  EXPECT_NE(refusal(options).find("[attend] scale is of the scaled dot product"), std::string::npos);
  options.scale.reset();
  options.relative_keys = at::zeros({1, 3, 8});
  EXPECT_NE(refusal(options).find("[attend] relative_keys need the scaled dot product"), std::string::npos);
}

}  // namespace
}  // namespace fovea
