#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <array>

#include "fovea/ops/attend_composed.h"
#include "fovea/ops/attend_fused.h"
#include "tests/ops/attend_gradients.h"

namespace fovea {
namespace {

using test::Operands;

// Adds a number for each distance.
struct ByDistance {
  Table<float> numbers;

  template <class V, class Q, class K>
  V operator()(V s, const At<Q, K>& at) const {
    using std::abs;
    return s + load(numbers, abs(at.q - at.k));
  }
  const Table<float>& learned() const { return numbers; }
  template <class V, class Q, class K>
  void learn(V gradient, V, const At<Q, K>& at, const TableSums& sums) const {
    using std::abs;
    add(sums, abs(at.q - at.k), gradient);
  }
};

// Multiplies with a number for each head.
struct Temperature {
  Table<float> numbers;

  template <class V, class Q, class K>
  V operator()(V s, const At<Q, K>& at) const {
    return s * load(numbers, at.head);
  }
  const Table<float>& learned() const { return numbers; }
  template <class V, class Q, class K>
  void learn(V gradient, V s, const At<Q, K>& at, const TableSums& sums) const {
    add(sums, at.head, gradient * s);
  }
};

// The same without saying where its gradient goes.
struct Unlearned {
  Table<float> numbers;

  template <class V, class Q, class K>
  V operator()(V s, const At<Q, K>& at) const {
    return s * load(numbers, at.head);
  }
};

void expect_same_gradients(const AttendOptions& options, const at::Tensor& table, const char* name) {
  const auto make = [](at::IntArrayRef shape) { return at::randn(shape).requires_grad_(); };
  const auto q = make({3, 4, 150, 16}), k = make({3, 2, 171, 16}), v = make({3, 2, 171, 24});
  ASSERT_EQ(attend_choice(q, k, v, options).name, "fused") << name;
  const auto grad = at::randn({3, 4, 150, 24});
  const auto got = torch::autograd::grad({attend_fused(q, k, v, options).out}, {q, k, v, table}, {grad});
  const auto twice = [](const at::Tensor& t) { return t.to(at::kDouble); };
  const auto exact = torch::autograd::grad({attend_composed(twice(q), twice(k), twice(v), options).out},
                                           {q, k, v, table}, {twice(grad)});
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_LT(((got[i] - exact[i]).norm() / exact[i].norm()).item<float>(), 1e-5) << name << ' ' << i;
  }
}

TEST(AttendLearn, TablesOfFunctors) {
  at::manual_seed(51);
  const auto distances = (at::randn({171}) * 0.5).requires_grad_(),
             heads = (at::rand({4}) + 0.5).requires_grad_(), slopes = (at::rand({4}) * 0.1).requires_grad_();
  AttendOptions options;
  options.functors = bind(ByDistance{float_table(distances)}, Window(60, 100));
  expect_same_gradients(options, distances, "by distance");
  options.functors = bind(Temperature{float_table(heads)});
  expect_same_gradients(options, heads, "temperature");
  options.functors = bind(Alibi{float_table(slopes)}, Causal(21));
  expect_same_gradients(options, slopes, "alibi");
  options.functors = bind(Chain(SoftCap{3.0f}, Temperature{float_table(heads)}, SoftCap{2.0f}), Causal(21));
  options.softcap = 8.0;
  options.relative_table = at::randn({4, 7}).requires_grad_();
  expect_same_gradients(options, heads, "between two caps");
}

// Gradients of more entries than are summed apart, as what each entry has of its own needs.
TEST(AttendLearn, WhatEachOfManyEntriesHas) {
  at::manual_seed(52);
  for (const auto& [batch, heads, kv_heads] : {std::array<int64_t, 3>{20, 2, 1}, {19, 4, 2}, {40, 2, 2}}) {
    const test::AttendCase c{batch, heads, kv_heads, 9, 73, 8, 8, at::kFloat, "contiguous", "none"};
    const Operands t = test::make_operands(c);
    AttendOptions own, shared;
    own.bias = at::randn({batch, heads, 9, 73});
    own.alibi_slopes = at::rand({batch, heads});
    shared.bias = at::randn({batch, 1, 1, 73});
    shared.relative_table = at::randn({heads, 15});
    for (const AttendOptions& options : {own, shared}) {
      const at::Tensor grad = at::randn({batch, heads, 9, 8});
      test::expect_right_gradients(test::evaluate(attend_fused, t, grad, options).gradients,
                                   test::evaluate_exactly(t, grad, options).gradients,
                                   test::GradientTerms(t, grad, options).squares(), c);
    }
  }
}

TEST(AttendLearn, AFunctorThatDoesNotSayHowRunsComposed) {
  const auto q = at::randn({1, 2, 5, 8});
  AttendOptions options;
  options.functors = bind(Unlearned{float_table(at::ones({2}).requires_grad_())});
  EXPECT_EQ(attend_choice(q, q, q, options).refusals[1], "fused: a functor's table wants a gradient");
  const c10::NoGradGuard no_grad;
  EXPECT_NE(attend_choice(q, q, q, options).name, "composed");
}

}  // namespace
}  // namespace fovea
