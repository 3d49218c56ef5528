#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>

#include "fovea/ops/attend_functors.h"
#include "fovea/ops/attend_observe.h"
#include "fovea/ops/attend_packed.h"
#include "tests/ops/expect_attend.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

// Calls that only a mistake or malice makes, and tensors that are not what they seem.

namespace fovea {
namespace {

constexpr int64_t kB = 2, kH = 3, kN = 40, kD = 8;

at::Tensor hostile_rows(int64_t heads = kH) { return at::randn({kB, heads, kN, kD}); }

void expect_same(const at::Tensor& a, const at::Tensor& b, const std::string& what) {
  EXPECT_LT((a - b).abs().max().item<double>(), 1e-5) << what;
}

// torch makes such views of the imaginary part of what is conjugated.
TEST(AttendHostile, NegatedViewsAreNegative) {
  at::manual_seed(1);
  const at::Tensor q = hostile_rows(), k = hostile_rows(), v = hostile_rows();
  const auto negated = [](const at::Tensor& t) { return at::_neg_view(t); };
  expect_same(attend(negated(q), k, v).out, attend(-q, k, v).out, "q");
  expect_same(attend(q, negated(k), v).out, attend(q, -k, v).out, "k");
  expect_same(attend(q, k, negated(v)).out, attend(q, k, -v).out, "v");
  const at::Tensor bias = at::randn({kN, kN});
  AttendOptions viewed, plain;
  viewed.bias = negated(bias), plain.bias = -bias;
  expect_same(attend(q, k, v, viewed).out, attend(q, k, v, plain).out, "bias");
}

TEST(AttendHostile, NegatedGradientsAreNegative) {
  at::manual_seed(2);
  const at::Tensor grad = hostile_rows();
  const auto gradient = [&](const at::Tensor& of_out) {
    at::manual_seed(3);
    const at::Tensor q = hostile_rows().requires_grad_(), k = hostile_rows(), v = hostile_rows();
    attend(q, k, v).out.backward(of_out);
    return q.grad();
  };
  expect_same(gradient(at::_neg_view(grad)), gradient(-grad), "gradient");
}

TEST(AttendHostile, ZerosWithoutMemoryAreZeros) {
  const at::Tensor q = hostile_rows(), v = hostile_rows(), zeros = at::_efficientzerotensor({kB, kH, kN, kD});
  expect_same(attend(q, zeros, v).out, v.mean(2, true).expand_as(v), "k");
  EXPECT_EQ(attend(q, q, zeros).out.abs().max().item<double>(), 0.0);
}

void expect_refused(const std::string& part, const AttendOptions& options) {
  const at::Tensor q = hostile_rows();
  expect_error(ErrorKind::usage, {part}, [&] { attend(q, q, q, options); });
}

TEST(AttendHostile, TablesMustReachEveryEntry) {
  const auto with = [](auto score, auto mask) {
    AttendOptions options;
    options.functors = bind(score, mask);
    return options;
  };
  const auto ints = [](int64_t count) { return int_table(at::full({count}, 5, at::kInt)); };
  const auto floats = [](int64_t count) { return float_table(at::ones({count})); };
  expect_refused("[HeadFactor] there must be a factor for each head; found 1 of 3",
                 with(HeadFactor{floats(1)}, All{}));
  expect_refused("[Alibi] there must be a slope for each head; found 2 of 3", with(Alibi{floats(2)}, All{}));
  expect_refused("found 5 of 6", with(Alibi{floats(5), kH}, All{}));
  expect_refused("[KeyLengths] there must be a length for each batch entry; found 1 of 2",
                 with(Identity{}, KeyLengths(ints(1))));
  expect_refused("[KeyLengths]", with(Identity{}, Causal{} & !(All{} | KeyLengths(ints(0)))));
  expect_refused("[Segments] key_ids must have B rows",
                 with(Identity{}, Segments(ints(80), ints(79), kN, kN)));
  expect_refused("[Segments] there must be an id for each query and key",
                 with(Identity{}, Segments(ints(80), ints(80), kN, kN - 1)));
  expect_refused("[Alibi]", with(Chain{SoftCap{5.0f}, Alibi{floats(2)}}, All{}));
  const at::Tensor q = hostile_rows();
  AttendOptions enough =
      with(Alibi{floats(6), kH}, KeyLengths(ints(2)) & Segments(ints(80), ints(80), kN, kN));
  EXPECT_TRUE(attend(q, q, q, enough).out.isfinite().all().item<bool>());
}

TEST(AttendHostile, PlacesMustLieInTheirTable) {
  const auto by_place = [](int64_t entries, int32_t centre) {
    AttendOptions options;
    options.functors =
        bind(ByPlace{float_table(at::zeros({entries})), int_table(at::arange(kN, at::kInt)), 0, centre});
    return options;
  };
  expect_refused("a number for each difference of places; found 78 of 79", by_place(78, kN - 1));
  expect_refused("the centre must be", by_place(79, kN - 2));
  const at::Tensor q = hostile_rows();
  EXPECT_NO_THROW(attend(q, q, q, by_place(79, kN - 1)));
}

TEST(AttendHostile, AStepOfZeroIsRefused) {
  expect_error(ErrorKind::usage, {"[Dilated] the step must be 1 or more; found 0"}, [] { Dilated(0); });
  expect_error(ErrorKind::usage, {"found -3"}, [] { Dilated(-3); });
}

// The differences of these overflow to what looks like ascending.
TEST(AttendHostile, OffsetsThatDescendAcrossAllNumbersAreRefused) {
  const at::Tensor rows = at::randn({3, 1, 4});
  const at::Tensor offsets =
      at::tensor({int64_t{0}, std::numeric_limits<int64_t>::max(), int64_t{-2}, int64_t{3}});
  expect_error(ErrorKind::usage, {"must not descend"},
               [&] { attend_packed(rows, rows, rows, offsets, offsets); });
}

TEST(AttendHostile, BlocksLargerThanAnyLengthAreOne) {
  const at::Tensor q = hostile_rows();
  AttendObservation wanted;
  constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();
  wanted.blocks = ObservedBlocks{kLargest, kLargest};
  const at::Tensor blocks = attend_observed(q, q, q, {}, wanted).observed.blocks;
  EXPECT_EQ(blocks.sizes(), at::IntArrayRef({kB, kH, 1, 1}));
  expect_same(blocks, at::full_like(blocks, 1.0 / kN), "mean");
  AttendOptions options;
  options.blocks = AttendBlocks{at::ones({1, 1, 1, 1}, at::kBool), kLargest};
  expect_same(attend(q, q, q, options).out, attend(q, q, q).out, "blocks");
}

TEST(AttendHostile, NumbersBeyondFloat32AreRefused) {
  AttendOptions options;
  options.scale = 1e39;
  expect_refused("the scale must be finite; found 1e+39.", options);
  options = {};
  options.similarity = Cosine{1e39};
  expect_refused("the scale of a cosine must be finite", options);
  options.similarity = Gaussian{1e-30};
  expect_refused("the width of a Gaussian must be above 0", options);
  options = {};
  options.normaliser = Sigmoid{1e39};
  expect_refused("the bias of a sigmoid must be finite", options);
}

}  // namespace
}  // namespace fovea
