#include "fovea/ops/attend_observe.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "fovea/core/error.h"
#include "fovea/ops/attend_observe_composed.h"
#include "tests/ops/attend_cases.h"
#include "tests/support/numbers.h"

namespace fovea {
namespace {

using test::AttendCase, test::Operands, test::scaled;

AttendOptions with_lse(AttendOptions options) {
  options.lse = true;
  return options;
}

AttendObservation everything_of(const AttendCase& c) {
  AttendObservation wanted;
  wanted.entropy = wanted.distance = wanted.argmax = wanted.received = true;
  if (c.keys > 0) wanted.top_k = std::min<int64_t>(c.keys, 5);
  wanted.blocks = ObservedBlocks{48, 37};
  if (c.queries > 0) wanted.rows = {c.queries - 1, 0, c.queries / 2, 0};
  return wanted;
}

// The definition in float64, from the same rounded operands; its lse is its own.
AttendObserved exact_observed(const Operands& t, const AttendOptions& options,
                              const AttendObservation& wanted) {
  const at::Tensor q = t.q.to(at::kDouble), k = t.k.to(at::kDouble), v = t.v.to(at::kDouble);
  const AttendOptions exact = test::in_double(options);
  return observe_composed(q, k, exact, attend(q, k, v, with_lse(exact)).lse, wanted);
}

// The relative error of a weight. Scores and lse err by a few 2^-24 of their sizes; that of bfloat16 sums
// powers that err by 1.1e-4.
double weight_error(const AttendCase& c) {
  return 1e-5 + (c.type == at::kBFloat16 ? 1.1e-4 : 0.0) + test::score_error(c);
}

// |got - exact| <= relative (|exact| + floor), elementwise.
void expect_near(const at::Tensor& got, const at::Tensor& exact, double relative, double floor,
                 const std::string& what) {
  ASSERT_EQ(got.sizes(), exact.sizes()) << what;
  ASSERT_EQ(got.scalar_type(), at::kFloat) << what;
  if (got.numel() == 0) return;
  const at::Tensor excess = (got.to(at::kDouble) - exact).abs() - relative * (exact.abs() + floor);
  ASSERT_LE(excess.max().item<double>(), 0.0) << what;
}

// Keys may change places where weights are equal but for rounding: their exact weights are those of the right
// ones.
void expect_keys(const at::Tensor& got, const at::Tensor& exact_keys, const at::Tensor& exact_weights,
                 const AttendCase& c) {
  ASSERT_EQ(got.sizes(), exact_keys.sizes()) << c.name();
  ASSERT_TRUE(at::equal(got < 0, exact_keys < 0)) << c.name();
  if (got.numel() == 0) return;
  const at::Tensor weight_of_got = exact_weights.gather(3, got.clamp_min(0)),
                   weight_of_exact = exact_weights.gather(3, exact_keys.clamp_min(0));
  const at::Tensor off = (weight_of_got - weight_of_exact).abs() > 2 * weight_error(c) * weight_of_exact;
  ASSERT_FALSE((off & (got >= 0)).any().item<bool>()) << c.name();
}

at::Tensor exact_weights(const Operands& t, const AttendOptions& options) {
  AttendOptions exact = test::in_double(options);
  exact.dropout_p = 0.0;
  exact.weights = true;
  return attend(t.q.to(at::kDouble), t.k.to(at::kDouble), t.v.to(at::kDouble), exact).weights;
}

void expect_right_observe(const AttendCase& c) {
  const Operands t = test::make_operands(c);
  const AttendOptions options = test::make_options(c);
  const AttendObservation wanted = everything_of(c);
  const AttendObserved got = attend_observed(t.q, t.k, t.v, options, wanted).observed,
                       exact = exact_observed(t, options, wanted);
  const double error = weight_error(c), tiny = 1e-30;
  const auto longest = static_cast<double>(std::max(c.queries, c.keys));
  expect_near(got.entropy, exact.entropy, error, 1.0, "entropy " + c.name());
  expect_near(got.distance, exact.distance, error, longest * 1e-6, "distance " + c.name());
  expect_near(got.received, exact.received, error, tiny, "received " + c.name());
  expect_near(got.blocks, exact.blocks, error, tiny, "blocks " + c.name());
  if (c.queries > 0) expect_near(got.rows, exact.rows, error, tiny, "rows " + c.name());
  const at::Tensor weights = exact_weights(t, options);
  if (c.keys > 0) {
    expect_near(got.top_weights, exact.top_weights, error, tiny, "top " + c.name());
    expect_keys(got.top_keys, exact.top_keys, weights, c);
    expect_keys(got.argmax.unsqueeze(3), exact.argmax.unsqueeze(3), weights, c);
  } else {
    ASSERT_TRUE((got.argmax == -1).all().item<bool>()) << c.name();
  }
}

TEST(AttendObserve, EqualsTheDefinition) {
  at::manual_seed(61);
  for (const auto& c : test::random_cases(scaled(80), 67)) {
    expect_right_observe(c);
    if (HasFatalFailure()) return;
  }
}

TEST(AttendObserve, EveryFunctorOfACall) {
  at::manual_seed(62);
  for (const auto& functors : test::functor_names()) {
    expect_right_observe({2, 4, 2, 290, 333, 24, 40, at::kFloat, "BTHD", functors});
    if (HasFatalFailure()) return;
    expect_right_observe({2, 2, 1, 130, 97, 40, 24, at::kBFloat16, "padded", functors});
    if (HasFatalFailure()) return;
  }
}

TEST(AttendObserve, SimilaritiesAndRelativeKeys) {
  at::manual_seed(82);
  for (const auto& c : test::random_cases(scaled(30), 83, test::product_names())) {
    expect_right_observe(c);
    if (HasFatalFailure()) return;
  }
}

TEST(AttendObserve, ManyKeysAndQueries) {
  at::manual_seed(63);
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const char* functors : {"none", "causal", "window_option", "bias_keys", "lengths"}) {
      expect_right_observe({1, 2, 1, 600, 1100, 32, 32, type, "contiguous", functors});
      if (HasFatalFailure()) return;
    }
  }
}

// Written out, number by number: the definition's own formulas.
TEST(AttendObserve, TheDefinitionIsTheFormulas) {
  at::manual_seed(64);
  const AttendCase c{2, 2, 1, 13, 11, 8, 8, at::kDouble, "contiguous", "causal"};
  const Operands t = test::make_operands(c);
  const AttendOptions options = test::make_options(c);
  AttendObservation wanted = everything_of(c);
  wanted.blocks = ObservedBlocks{5, 4};
  const AttendObserved got = attend_observed(t.q, t.k, t.v, options, wanted).observed;
  const at::Tensor p = exact_weights(t, options);
  const auto weights = p.accessor<double, 4>();
  for (int64_t b = 0; b < 2; ++b) {
    for (int64_t h = 0; h < 2; ++h) {
      at::Tensor received = at::zeros({11}, at::kDouble), blocks = at::zeros({3, 3}, at::kDouble);
      for (int64_t i = 0; i < 13; ++i) {
        double entropy = 0.0, distance = 0.0;
        int64_t best = 0;
        for (int64_t j = 0; j < 11; ++j) {
          const double w = weights[b][h][i][j];
          if (w > 0.0) entropy -= w * std::log(w);
          distance += w * static_cast<double>(std::abs(i - j));
          if (w > weights[b][h][i][best]) best = j;
          received[j] += w;
          blocks[i / 5][j / 4] += w / static_cast<double>((i / 5 == 2 ? 3 : 5) * (j / 4 == 2 ? 3 : 4));
        }
        EXPECT_NEAR(got.entropy[b][h][i].item<double>(), entropy, 1e-12);
        EXPECT_NEAR(got.distance[b][h][i].item<double>(), distance, 1e-12);
        EXPECT_EQ(got.argmax[b][h][i].item<int64_t>(), best);
        EXPECT_NEAR(got.top_weights[b][h][i][0].item<double>(), weights[b][h][i][best], 1e-12);
      }
      EXPECT_TRUE(at::allclose(got.received[b][h], received, 0, 1e-12));
      EXPECT_TRUE(at::allclose(got.blocks[b][h], blocks, 0, 1e-12));
    }
  }
  const at::Tensor chosen = p.index_select(2, at::tensor(wanted.rows));
  EXPECT_TRUE(at::allclose(got.rows, chosen, 0, 1e-12));
}

std::vector<at::Tensor> all_of(const AttendObserved& o) {
  return {o.entropy, o.distance, o.argmax, o.top_weights, o.top_keys, o.received, o.blocks, o.rows};
}

TEST(AttendObserve, TheSameBitsOnAnyNumberOfThreads) {
  at::manual_seed(65);
  const int before = at::get_num_threads();
  for (const char* functors : {"none", "bottom_right", "everything"}) {
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      const AttendCase c{2, 4, 2, 700, 600, 32, 32, type, "contiguous", functors};
      const Operands t = test::make_operands(c);
      const AttendOptions options = test::make_options(c);
      const at::Tensor lse = attend(t.q, t.k, t.v, with_lse(options)).lse;
      at::set_num_threads(1);
      const auto one = all_of(observe_attend(t.q, t.k, options, lse, everything_of(c)));
      for (const int threads : {2, 5}) {
        at::set_num_threads(threads);
        const auto more = all_of(observe_attend(t.q, t.k, options, lse, everything_of(c)));
        for (size_t i = 0; i < one.size(); ++i) {
          EXPECT_TRUE(at::equal(one[i].view(at::kByte), more[i].view(at::kByte))) << c.name() << " " << i;
        }
      }
    }
  }
  at::set_num_threads(before);
}

TEST(AttendObserve, EqualWeightsKeepTheOrderOfTheKeys) {
  const at::Tensor x = at::zeros({1, 1, 40, 8});
  AttendObservation wanted;
  wanted.argmax = wanted.entropy = true;
  wanted.top_k = 3;
  AttendOptions options;
  options.causal = CausalAlignment::top_left;
  const AttendObserved got = attend_observed(x, x, x, options, wanted).observed;
  EXPECT_TRUE((got.argmax == 0).all().item<bool>());
  EXPECT_TRUE(at::equal(got.top_keys[0][0][39], at::arange(3)));
  EXPECT_TRUE(at::equal(got.top_keys[0][0][0], at::tensor({0, -1, -1}).to(at::kLong)));
  EXPECT_TRUE(at::equal(got.top_weights[0][0][0], at::tensor({1.0f, 0.0f, 0.0f})));
  EXPECT_NEAR(got.entropy[0][0][39].item<double>(), std::log(40.0), 1e-5);
  EXPECT_GE(got.entropy.min().item<double>(), 0.0);
}

// So many are kept in a heap.
TEST(AttendObserve, ManyTopWeightsFallInTheOrderOfTheKeys) {
  at::manual_seed(68);
  const at::Tensor q = at::ones({1, 1, 40, 8}),
                   k = at::randint(-9, 9, {1, 1, 700, 1}).expand({1, 1, 700, 8}) / 16;
  AttendObservation wanted;
  wanted.argmax = true;
  wanted.rows = {0, 39};
  for (const int64_t count : {65, 300, 700}) {
    wanted.top_k = count;
    for (const auto causal : {CausalAlignment::none, CausalAlignment::bottom_right}) {
      AttendOptions options;
      options.causal = causal;
      const AttendObserved got = attend_observed(q, k, k, options, wanted).observed;
      const auto [weights, keys] = at::sort(got.rows, /*stable=*/true, /*dim=*/3, /*descending=*/true);
      const at::Tensor top = weights.slice(3, 0, count),
                       of = keys.slice(3, 0, count).masked_fill(top == 0, -1);
      for (int64_t row = 0; row < 2; ++row) {
        const int64_t query = wanted.rows[static_cast<size_t>(row)];
        EXPECT_TRUE(at::equal(got.top_weights[0][0][query], top[0][0][row])) << count;
        EXPECT_TRUE(at::equal(got.top_keys[0][0][query], of[0][0][row])) << count;
        EXPECT_TRUE(at::equal(got.argmax[0][0][query], of[0][0][row][0]));
      }
    }
  }
}

TEST(AttendObserve, AQueryThatSeesNoKey) {
  at::manual_seed(66);
  const AttendCase c{2, 2, 2, 30, 20, 16, 16, at::kFloat, "contiguous", "none"};
  const Operands t = test::make_operands(c);
  AttendOptions options;
  options.key_lengths = at::tensor({0, 7}).to(at::kLong);
  // A key that nobody sees has no influence.
  t.k.select(0, 1).slice(1, 7).fill_(test::kNan);
  const AttendObserved got = attend_observed(t.q, t.k, t.v, options, everything_of(c)).observed;
  for (const auto& numbers : all_of(got)) {
    const bool keys = numbers.scalar_type() == at::kLong;
    EXPECT_TRUE((numbers[0] == (keys ? -1 : 0)).all().item<bool>());
    EXPECT_TRUE(at::isfinite(numbers).all().item<bool>());
  }
  EXPECT_TRUE((got.received[1].slice(1, 7) == 0).all().item<bool>());
  EXPECT_TRUE(at::allclose(got.received[1].sum(1), at::full({2}, 30.0f)));
}

TEST(AttendObserve, ASpoiltQuerySpoilsWhatItSees) {
  at::manual_seed(67);
  const AttendCase c{1, 1, 1, 300, 300, 16, 16, at::kFloat, "contiguous", "causal"};
  const Operands t = test::make_operands(c);
  const AttendOptions options = test::make_options(c);
  t.q.select(2, 200).fill_(test::kNan);
  AttendObservation wanted = everything_of(c);
  wanted.rows = {200, 201};
  const AttendObserved got = attend_observed(t.q, t.k, t.v, options, wanted).observed;
  for (const auto& numbers : {got.entropy, got.distance, got.top_weights}) {
    EXPECT_TRUE(at::isnan(numbers.select(2, 200)).all().item<bool>());
    EXPECT_FALSE(at::isnan(numbers.select(2, 199)).any().item<bool>());
    EXPECT_FALSE(at::isnan(numbers.select(2, 201)).any().item<bool>());
  }
  EXPECT_EQ(got.argmax[0][0][200].item<int64_t>(), -1);
  EXPECT_TRUE((got.top_keys[0][0][200] == -1).all().item<bool>());
  const at::Tensor seen = at::arange(300) <= 200;
  EXPECT_TRUE(at::equal(at::isnan(got.rows[0][0][0]), seen));
  EXPECT_FALSE(at::isnan(got.rows[0][0][1]).any().item<bool>());
  EXPECT_TRUE(at::equal(at::isnan(got.received[0][0]), seen));
}

TEST(AttendObserve, PartsOfTheKeysShareALogSumExp) {
  at::manual_seed(68);
  const AttendCase c{1, 2, 2, 60, 200, 32, 32, at::kFloat, "contiguous", "none"};
  const Operands t = test::make_operands(c);
  AttendObservation wanted;
  wanted.received = true;
  wanted.rows = {3};
  const auto whole = attend_observed(t.q, t.k, t.v, with_lse({}), wanted);
  const at::Tensor part = t.k.slice(2, 70, 200);
  for (const auto& got : {observe_attend(t.q, part, {}, whole.result.lse, wanted),
                          observe_composed(t.q, part, {}, whole.result.lse, wanted)}) {
    EXPECT_TRUE(at::allclose(got.received, whole.observed.received.slice(2, 70), 1e-5, 0));
    EXPECT_TRUE(at::allclose(got.rows, whole.observed.rows.slice(3, 70), 1e-5, 0));
  }
}

// Each observation by itself is the one made among all, dropout or not; nothing is told that was not asked
// for.
TEST(AttendObserve, OneAtATime) {
  at::manual_seed(69);
  const AttendCase c{1, 2, 1, 520, 300, 16, 16, at::kFloat, "contiguous", "causal"};
  const Operands t = test::make_operands(c);
  AttendOptions options = with_lse(test::make_options(c));
  const at::Tensor lse = attend(t.q, t.k, t.v, options).lse;
  const AttendObservation all = everything_of(c);
  const auto together = all_of(observe_attend(t.q, t.k, options, lse, all));
  options.dropout_p = 0.5;
  std::vector<AttendObservation> alone(7);
  alone[0].entropy = alone[1].distance = alone[2].argmax = alone[4].received = true;
  alone[3].top_k = all.top_k;
  alone[5].blocks = all.blocks;
  alone[6].rows = all.rows;
  const std::vector<std::vector<size_t>> told = {{0}, {1}, {2}, {3, 4}, {5}, {6}, {7}};
  for (size_t i = 0; i < alone.size(); ++i) {
    const auto got = all_of(observe_attend(t.q, t.k, options, lse, alone[i]));
    for (size_t j = 0; j < got.size(); ++j) {
      const bool asked = std::find(told[i].begin(), told[i].end(), j) != told[i].end();
      ASSERT_EQ(got[j].defined(), asked) << i << " " << j;
      if (asked) {
        EXPECT_TRUE(at::equal(got[j], together[j])) << i << " " << j;
      }
    }
  }
}

TEST(AttendObserve, GradientsPassThroughTheResultAlone) {
  const at::Tensor x = at::randn({1, 1, 200, 8}).set_requires_grad(true);
  AttendObservation wanted;
  wanted.entropy = true;
  const ObservedAttend both = attend_observed(x, x, x, {}, wanted);
  EXPECT_TRUE(both.result.out.requires_grad());
  EXPECT_FALSE(both.observed.entropy.requires_grad());
  EXPECT_FALSE(both.result.lse.defined());
}

TEST(AttendObserve, EmptySizes) {
  AttendObservation wanted;
  wanted.entropy = wanted.argmax = wanted.received = wanted.distance = true;
  wanted.blocks = ObservedBlocks{4, 4};
  for (const auto type : {at::kFloat, at::kDouble}) {
    for (const auto& [batch, queries, keys] : {std::array<int64_t, 3>{0, 3, 3}, {1, 0, 3}, {1, 3, 0}}) {
      const at::Tensor q = at::randn({batch, 2, queries, 8}, type), k = at::randn({batch, 2, keys, 8}, type);
      const AttendObserved got = attend_observed(q, k, k, {}, wanted).observed;
      EXPECT_TRUE(at::equal(got.received, at::zeros({batch, 2, keys}, type)));
      EXPECT_EQ(got.argmax.sizes(), (std::vector<int64_t>{batch, 2, queries}));
      EXPECT_EQ(got.blocks.sizes(), (std::vector<int64_t>{batch, 2, (queries + 3) / 4, (keys + 3) / 4}));
      if (keys == 0) {
        EXPECT_TRUE((got.argmax == -1).all().item<bool>());
        EXPECT_TRUE(at::equal(got.entropy, at::zeros({batch, 2, queries}, type)));
      }
    }
  }
}

std::string refusal(const at::Tensor& lse, const AttendObservation& wanted) {
  const at::Tensor x = at::randn({1, 2, 5, 8});
  try {
    observe_attend(x, x, {}, lse, wanted);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(AttendObserve, RefusesWhatDoesNotFit) {
  const at::Tensor lse = at::zeros({1, 2, 5});
  AttendObservation top, blocks, rows;
  blocks.blocks = ObservedBlocks{0, 4};
  rows.rows = {0, 5};
  for (const int64_t count : {0, 6}) {
    top.top_k = count;
    EXPECT_EQ(refusal(lse, top), "[observe_attend] top_k must be in 1 ... M = 5; found " +
                                     std::to_string(count) + ". Ask for at most as many as there are keys.");
  }
  EXPECT_EQ(refusal(lse, blocks),
            "[observe_attend] the sizes of blocks must be at least 1; found (0, 4). They are numbers of "
            "queries and keys.");
  EXPECT_EQ(
      refusal(lse, rows),
      "[observe_attend] rows must be queries in [0, N) with N = 5; found 5. Count from the first query.");
  EXPECT_EQ(
      refusal(lse.unsqueeze(3), {}),
      "[observe_attend] lse must be float or double, of shape (B, H, N) = (1, 2, 5) and on the device of q; "
      "found (1, 2, 5, 1) float cpu. Take it from attend() with options.lse.");
  EXPECT_NE(refusal({}, {}), "");
  EXPECT_EQ(refusal(lse, {}), "");
}

}  // namespace
}  // namespace fovea
