#include "fovea/ops/deformable_attend.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "fovea/ops/deformable_attend_composed.h"
#include "tests/ops/expect_attend.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace fovea {
namespace {

using test::same_bits;
using Maps = std::vector<MapShape>;

// Of v and of what is given as gradient in memory: as they are; (B, S, H, D), as projections leave them, with
// a gap between rows; (B, H, D, S), where the numbers of a row stand apart.
enum class Layout { dense, gaps, turned };

struct DeformableCase {
  int64_t batch, heads, queries, points, dim;
  Maps maps;
  at::ScalarType type = at::kFloat;
  Layout layout = Layout::dense;

  std::string name() const {
    return "B " + std::to_string(batch) + ", H " + std::to_string(heads) + ", N " + std::to_string(queries) +
           ", L " + std::to_string(maps.size()) + ", P " + std::to_string(points) + ", D " +
           std::to_string(dim) + ", " + at::toString(type) + ", layout " +
           std::to_string(static_cast<int>(layout));
  }
};

struct DeformableOperands {
  at::Tensor v, locations, weights, grad_out;

  std::vector<at::Tensor> leaves() const { return {v, locations, weights}; }
  DeformableOperands in(at::ScalarType type) const {
    const auto leaf = [&](const at::Tensor& t) { return t.detach().to(type, false, true).requires_grad_(); };
    return {leaf(v), leaf(locations), leaf(weights), grad_out.to(type)};
  }
};

// Points up to two places beyond the map, and a hundredth of a place away from where the slope changes.
at::Tensor points_of(const DeformableCase& c) {
  std::vector<at::Tensor> levels;
  for (const MapShape& map : c.maps) {
    std::vector<at::Tensor> axes;
    for (const int64_t size : {map.columns, map.rows}) {
      const std::vector<int64_t> shape = {c.batch, c.heads, c.queries, c.points};
      const at::Tensor place =
          at::randint(-2, size + 2, shape, at::kDouble) + at::rand(shape, at::kDouble) * 0.98 + 0.01;
      axes.push_back((place + 0.5) / static_cast<double>(size));
    }
    levels.push_back(at::stack(axes, -1));
  }
  return at::stack(levels, 3).to(at::kFloat);
}

DeformableOperands operands_of(const DeformableCase& c) {
  int64_t places = 0;
  for (const MapShape& map : c.maps) places += map.rows * map.columns;
  const auto rows = [&](int64_t count) {
    const at::Tensor t = at::randn({c.batch, c.heads, count, c.dim}).to(c.type);
    if (c.layout == Layout::dense) return t;
    if (c.layout == Layout::turned) return t.transpose(2, 3).contiguous().transpose(2, 3);
    return at::constant_pad_nd(t.transpose(1, 2), {0, 1}).narrow(3, 0, c.dim).transpose(1, 2);
  };
  const auto levels = static_cast<int64_t>(c.maps.size());
  return {rows(places).requires_grad_(), points_of(c).requires_grad_(),
          at::randn({c.batch, c.heads, c.queries, levels, c.points}).requires_grad_(), rows(c.queries)};
}

// By torch's sampling of images, map by map.
at::Tensor by_grid_sample(const DeformableOperands& t, const Maps& maps) {
  const int64_t heads = t.v.size(0) * t.v.size(1), dim = t.v.size(3);
  at::Tensor out;
  int64_t first = 0;
  for (size_t l = 0; l < maps.size(); ++l) {
    const int64_t count = maps[l].rows * maps[l].columns, level = static_cast<int64_t>(l);
    const at::Tensor image = t.v.narrow(2, first, count)
                                 .flatten(0, 1)
                                 .transpose(1, 2)
                                 .reshape({heads, dim, maps[l].rows, maps[l].columns});
    const at::Tensor grid = 2 * t.locations.select(3, level).flatten(0, 1) - 1;
    const at::Tensor sampled =
        at::grid_sampler(image, grid, /*bilinear=*/0, /*zeros=*/0, /*align_corners=*/false);
    const at::Tensor part = (sampled * t.weights.select(3, level).flatten(0, 1).unsqueeze(1)).sum(-1);
    out = out.defined() ? out + part : part;
    first += count;
  }
  return out.transpose(1, 2).reshape({t.v.size(0), t.v.size(1), t.weights.size(2), dim});
}

using Results = std::vector<at::Tensor>;

Results with_gradients_of(const at::Tensor& out, const DeformableOperands& t) {
  Results results = {out.detach()};
  for (const auto& g : torch::autograd::grad({out}, t.leaves(), {t.grad_out})) results.push_back(g);
  return results;
}

Results run_deformable(const DeformableOperands& t, const Maps& maps) {
  return with_gradients_of(deformable_attend(t.v, maps, t.locations, t.weights), t);
}

// Relative to the norm. A coordinate of W places is rounded by W 2^-24 of a place, twice, and shares of
// corners with it; then sums in float32, and one rounding of values, result and gradient.
double allowed_error(const DeformableCase& c, size_t result) {
  int64_t side = 0;
  for (const MapShape& map : c.maps) side = std::max({side, map.rows, map.columns});
  const double rounding = c.type == at::kBFloat16 ? 0x1p-8 : c.type == at::kHalf ? 0x1p-11 : 0.0;
  return 5e-7 + 0x1p-23 * static_cast<double>(side + 2) + (result < 2 ? rounding : 0.0);
}

void expect_right(const DeformableCase& c) {
  const DeformableOperands t = operands_of(c), exact = t.in(at::kDouble);
  ASSERT_FALSE(why_not_deformable_fused(t.v, t.locations, t.weights)) << c.name();
  const Results found = run_deformable(t, c.maps),
                expected = with_gradients_of(by_grid_sample(exact, c.maps), exact);
  for (size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(found[i].sizes(), expected[i].sizes());
    ASSERT_EQ(found[i].scalar_type(), i < 2 ? c.type : at::kFloat);
    const double size = expected[i].norm().item<double>() + 1e-30;
    EXPECT_LE((found[i].to(at::kDouble) - expected[i]).norm().item<double>() / size, allowed_error(c, i))
        << c.name() << ", result " << i;
  }
}

TEST(Deformable, EqualsSampledImages) {
  at::manual_seed(1);
  const Maps pyramid = {{9, 13}, {5, 7}, {3, 1}, {1, 2}};
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const int64_t dim : {1, 3, 8, 16, 20, 32, 64, 100}) {
      expect_right({2, 3, 17, 4, dim, pyramid, type});
      expect_right({1, 2, 33, 3, dim, {{6, 4}}, type, Layout::gaps});
      expect_right({1, 2, 33, 3, dim, {{6, 4}}, type, Layout::turned});
    }
  }
}

TEST(Deformable, EqualsSampledImagesAtAnyNumberOfPoints) {
  at::manual_seed(2);
  for (const int64_t points : {1, 2, 5, 8, 16, 17}) {
    expect_right({1, 2, 300, points, 32, {{8, 8}, {4, 4}}});
    expect_right({3, 1, 1, points, 24, {{1, 40}}});
    expect_right({3, 1, 70, points, 24, {{5, 6}}, at::kFloat, Layout::gaps});
  }
}

TEST(Deformable, DefinitionEqualsSampledImages) {
  at::manual_seed(3);
  const DeformableCase c{2, 2, 11, 3, 5, {{4, 6}, {2, 3}}};
  const DeformableOperands t = operands_of(c).in(at::kDouble);
  EXPECT_TRUE(why_not_deformable_fused(t.v, t.locations, t.weights));
  const Results found = run_deformable(t, c.maps), expected = with_gradients_of(by_grid_sample(t, c.maps), t);
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_LT((found[i] - expected[i]).abs().max().item<double>(), 1e-12) << i;
  }
}

// Exactly: bilinear weights are 1 and 0 there.
TEST(Deformable, TheCentreOfAPlaceGivesItsValue) {
  const at::Tensor v = at::randn({1, 1, 6 * 5, 32});
  at::Tensor locations = at::empty({1, 1, 30, 1, 1, 2});
  for (int64_t i = 0; i < 30; ++i) {
    locations[0][0][i][0][0][0] = (i % 5 + 0.5) / 5.0;
    locations[0][0][i][0][0][1] = (i / 5 + 0.5) / 6.0;
  }
  const at::Tensor out = deformable_attend(v, {{6, 5}}, locations, at::ones({1, 1, 30, 1, 1}));
  EXPECT_LT((out - v).abs().max().item<double>(), 1e-5);
}

// One row of a map is a sequence.
TEST(Deformable, ASequenceIsInterpolated) {
  const at::Tensor v = at::arange(8, at::kFloat).view({1, 1, 8, 1});
  at::Tensor locations = at::full({1, 1, 3, 1, 1, 2}, 0.5);
  for (int64_t i = 0; i < 3; ++i) locations[0][0][i][0][0][0] = (2.25 + i + 0.5) / 8.0;
  const at::Tensor out = deformable_attend(v, {{1, 8}}, locations, at::ones({1, 1, 3, 1, 1}));
  EXPECT_TRUE(at::allclose(out.flatten(), at::tensor({2.25f, 3.25f, 4.25f})));
}

TEST(Deformable, WhatNoPointTouchesHasNoInfluence) {
  at::manual_seed(4);
  DeformableCase c{1, 1, 5, 2, 16, {{8, 8}}};
  for (const auto type : {at::kFloat, at::kDouble}) {
    DeformableOperands t = operands_of(c);
    t.locations = (at::rand({1, 1, 5, 1, 2, 2}) * 0.2 + 0.2).requires_grad_();  // among the upper left 4 x 4
    const Results expected = run_deformable(t.in(type), c.maps);
    {
      const at::NoGradGuard no_grad;
      t.v.view({1, 1, 8, 8, 16}).slice(3, 4).fill_(test::kNan);
    }
    const Results found = run_deformable(t.in(type), c.maps);
    for (size_t i = 0; i < found.size(); ++i) EXPECT_TRUE(same_bits(found[i], expected[i])) << i;
  }
}

// Of a corner beyond the map only.
TEST(Deformable, AnInfinityAtTheBorderStays) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  at::Tensor v = at::ones({1, 1, 4, 37});
  v.select(2, 0).fill_(kInfinity);
  const at::Tensor location = at::full({1, 1, 1, 1, 1, 2}, 0.05), weight = at::ones({1, 1, 1, 1, 1});
  EXPECT_TRUE(at::isposinf(deformable_attend(v, {{2, 2}}, location, weight)).all().item<bool>());
}

// float32 does not count so many.
TEST(Deformable, PlacesOfLargeMapsAreExact) {
  constexpr int64_t kRows = (1 << 24) + 3, kSide = 5000;
  at::Tensor memory = at::zeros({1, 1, kRows + 16, 1});
  memory.narrow(2, kRows, 16).fill_(std::nanf(""));
  const at::Tensor y = 1 - at::arange(64) * 0x1p-24;
  const at::Tensor low = at::stack({at::full({64}, 0.5), y}, -1).view({1, 1, 64, 1, 1, 2});
  const at::Tensor found =
      deformable_attend(memory.narrow(2, 0, kRows), {{kRows, 1}}, low, at::ones({1, 1, 64, 1, 1}));
  EXPECT_TRUE(at::isfinite(found).all().item<bool>());
  const at::Tensor v = at::arange(kSide * kSide).remainder(1000).to(at::kFloat).view({1, 1, -1, 1});
  const at::Tensor centre = at::tensor({4995.5, 4001.5, 3.5, 4995.5, 4999.5, 4999.5}, at::kDouble) / kSide;
  const at::Tensor defined = deformable_attend_composed(v, {{kSide, kSide}}, centre.view({1, 1, 3, 1, 1, 2}),
                                                        at::ones({1, 1, 3, 1, 1}, at::kDouble));
  EXPECT_LT((defined.flatten() - at::tensor({995.0f, 3.0f, 999.0f})).abs().max().item<double>(), 0.1)
      << defined;
}

TEST(Deformable, FarAwayIsZero) {
  at::manual_seed(5);
  const DeformableCase c{1, 1, 4, 2, 16, {{3, 3}}};
  DeformableOperands t = operands_of(c);
  t.locations = at::full({1, 1, 4, 1, 2, 2}, 1e30).requires_grad_();
  t.locations.detach().slice(2, 2).fill_(-1e30);
  for (const Results& found : {run_deformable(t, c.maps), run_deformable(t.in(at::kDouble), c.maps)}) {
    for (const auto& result : found) EXPECT_TRUE(result.eq(0).all().item<bool>());
  }
}

TEST(Deformable, ThreadsChangeNoBit) {
  at::manual_seed(6);
  const DeformableCase c{2, 3, 700, 4, 32, {{20, 20}, {10, 10}}};
  const DeformableOperands t = operands_of(c);
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const Results one = run_deformable(t, c.maps);
  for (const int threads : {2, 3}) {
    at::set_num_threads(threads);
    const Results found = run_deformable(t, c.maps);
    for (size_t i = 0; i < found.size(); ++i) EXPECT_TRUE(same_bits(found[i], one[i])) << threads << ' ' << i;
  }
  at::set_num_threads(before);
}

TEST(Deformable, GradientsOfGradientsAreTheDefinitions) {
  at::manual_seed(7);
  const DeformableCase c{1, 2, 6, 3, 8, {{5, 4}}};
  const DeformableOperands t = operands_of(c);
  const auto second = [&](auto&& attend) {
    const at::Tensor out = attend(t.v, c.maps, t.locations, t.weights);
    const auto first =
        torch::autograd::grad({out}, t.leaves(), {t.grad_out}, std::nullopt, /*create_graph=*/true);
    at::Tensor sum = first[0].square().sum() + first[1].square().sum() + first[2].square().sum();
    return torch::autograd::grad({sum}, t.leaves());
  };
  const auto found = second(deformable_attend), expected = second(deformable_attend_composed);
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_LT((found[i] - expected[i]).norm().item<double>(), 1e-5 * expected[i].norm().item<double>()) << i;
  }
}

TEST(Deformable, NothingToDo) {
  const auto run = [](int64_t batch, int64_t heads, int64_t queries, int64_t points, int64_t dim) {
    const DeformableCase c{batch, heads, queries, points, dim, {{3, 2}}};
    const Results found = run_deformable(operands_of(c), c.maps);
    for (const auto& result : found) EXPECT_TRUE(result.eq(0).all().item<bool>());
  };
  run(0, 2, 3, 2, 8);
  run(2, 0, 3, 2, 8);
  run(2, 2, 0, 2, 8);
  run(2, 2, 3, 0, 8);
  run(2, 2, 3, 2, 0);
}

TEST(DeformableRefuses, WhatDoesNotFit) {
  const DeformableCase c{1, 2, 3, 4, 8, {{3, 2}, {1, 2}}};
  const DeformableOperands t = operands_of(c);
  const auto refused = [](const std::string& part, const at::Tensor& v, const Maps& maps,
                          const at::Tensor& locations, const at::Tensor& weights) {
    expect_error(ErrorKind::usage, {"[deformable_attend] ", part},
                 [&] { deformable_attend(v, maps, locations, weights); });
  };
  refused("sum to the values; found maps of 3 x 2, v (1, 2, 8, 8)", t.v, {{3, 2}}, t.locations, t.weights);
  refused("there must be a map", t.v, {}, t.locations, t.weights);
  refused("must have rows and columns", t.v, {{8, 1}, {0, 4}}, t.locations, t.weights);
  refused("sum to the values", t.v, {{int64_t{1} << 62, 4}, {8, 1}}, t.locations, t.weights);
  refused("points for each map", t.v, {{4, 2}}, t.locations, t.weights);
  refused("the shapes must be", t.v, c.maps, t.locations.select(0, 0), t.weights);
  refused("must share B, H, N, L and P", t.v, c.maps, t.locations, t.weights.narrow(4, 0, 3));
  refused("must share B, H, N, L and P", t.v.narrow(1, 0, 1), c.maps, t.locations, t.weights);
  refused("floating point", t.v.to(at::kLong), c.maps, t.locations, t.weights);
  refused("one device", t.v, c.maps, t.locations.to(at::kMeta), t.weights);
  for (const double bad : {test::kNan, test::kInfinity}) {
    const at::Tensor locations = t.locations.detach().clone();
    locations[0][1][2][1][3][0] = bad;
    refused("locations must be finite", t.v, c.maps, locations, t.weights);
  }
}

}  // namespace
}  // namespace fovea
