#include "fovea/mods/mask.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "fovea/core/random.h"
#include "fovea/mods/centre.h"
#include "fovea/mods/chosen.h"
#include "fovea/mods/fixed_blocks.h"
#include "fovea/mods/gathered.h"
#include "fovea/mods/gumbel.h"
#include "fovea/mods/score.h"
#include "fovea/mods/span.h"
#include "fovea/mods/tile_program.h"

namespace fovea {
namespace {

constexpr int32_t kQueries = 41, kKeys = 57;

// What a mask says of a rectangle against what it says of each pair.
template <class M>
void expect_cover_is_true(const M& mask, bool tight) {
  Random random(3);
  for (int trial = 0; trial < 3000; ++trial) {
    TileRange t;
    t.batch = static_cast<int32_t>(random.below(2));
    t.head = 0;
    t.q0 = static_cast<int64_t>(random.below(kQueries));
    t.q1 = t.q0 + 1 + static_cast<int64_t>(random.below(kQueries - t.q0));
    t.k0 = static_cast<int64_t>(random.below(kKeys));
    t.k1 = t.k0 + 1 + static_cast<int64_t>(random.below(kKeys - t.k0));
    bool some = false, all = true;
    for (auto q = static_cast<int32_t>(t.q0); q < t.q1; ++q) {
      for (auto k = static_cast<int32_t>(t.k0); k < t.k1; ++k) {
        const bool seen = mask(At<int32_t, int32_t>{q, k, t.batch, t.head});
        some |= seen;
        all &= seen;
      }
    }
    const Cover exact = all ? Cover::full : some ? Cover::partial : Cover::skip, said = mask.cover(t);
    if (tight || said != Cover::partial) {
      ASSERT_EQ(said, exact) << t.q0 << ' ' << t.q1 << ' ' << t.k0 << ' ' << t.k1;
    }
  }
}

const std::vector<int32_t> kLengths = {33, 0};
const std::vector<int32_t> kQueryIds = [] {
  std::vector<int32_t> ids;
  for (int i = 0; i < 2 * kQueries; ++i) ids.push_back(i % kQueries / 12);
  return ids;
}();
const std::vector<int32_t> kKeyIds = [] {
  std::vector<int32_t> ids;
  for (int i = 0; i < 2 * kKeys; ++i) ids.push_back(i % kKeys / 20);
  return ids;
}();

Table<int32_t> table(const std::vector<int32_t>& values) {
  return {values.data(), static_cast<int64_t>(values.size()), nullptr};
}
KeyLengths lengths() { return KeyLengths(table(kLengths)); }
Segments segments() { return {table(kQueryIds), table(kKeyIds), kQueries, kKeys}; }

TEST(Mask, SimpleOnesKnowEveryRectangle) {
  expect_cover_is_true(All{}, true);
  expect_cover_is_true(Causal(), true);
  expect_cover_is_true(Causal(kKeys - kQueries), true);
  expect_cover_is_true(Causal(-50), true);
  expect_cover_is_true(Window(4, 0), true);
  expect_cover_is_true(Window(Window::kOpen, 3), true);
  expect_cover_is_true(Prefix(7), true);
  expect_cover_is_true(Global(3), true);
  expect_cover_is_true(lengths(), true);
  expect_cover_is_true(segments(), true);
  expect_cover_is_true(!Causal(), true);
}

// Of rows that rise, and spans of two batch entries: tiles of them are bounded by the largest and the least.
TEST(Mask, SpansAndPickedRowsNeverSayWrong) {
  std::vector<float> spans(2 * kKeys);
  for (size_t i = 0; i < spans.size(); ++i) spans[i] = static_cast<float>(i * 7 % 23) - 3.5f;
  const Table<float> table{spans.data(), 2 * kKeys, nullptr};
  expect_cover_is_true(SpanMask(SoftSpan<SpanOf::key>{table, kKeys, 0, 1, 4.0f}), false);
  expect_cover_is_true(SpanMask(SoftSpan<SpanOf::query>{table, kKeys, 0, 1, 4.0f}), false);
  expect_cover_is_true(SpanMask(SoftSpan<SpanOf::query>{table, 1, 0, 0, 4.0f}), true);
  const Centres centres{table, kQueries, 0};
  expect_cover_is_true(NearCentre(centres, 5.0f), false);
  std::vector<float> rising(2 * kQueries);
  for (size_t i = 0; i < rising.size(); ++i) rising[i] = static_cast<float>(i % kQueries) * 0.9f;
  expect_cover_is_true(
      NearCentre({{rising.data(), 2 * kQueries, nullptr}, kQueries, 0, CentreOrder::rising}, 5.0f), true);
  std::vector<int32_t> places;
  for (int32_t i = 0; i < 2 * kQueries; ++i) places.push_back(i % kQueries * 4 / 3);
  expect_cover_is_true(Gathered(Causal(), {places.data(), 2 * kQueries, nullptr}, kQueries, 0), true);
}

// Two keys of each query, of two batch entries, of which one may be none.
TEST(Mask, ChosenKeysAreThoseOfTheTable) {
  std::vector<int32_t> keys;
  for (int32_t i = 0; i < 4 * kQueries; ++i) keys.push_back(i % 5 == 0 ? -1 : i * 17 % kKeys);
  const Chosen chosen({keys.data(), 4 * kQueries, nullptr}, 2 * kQueries, 0, 2);
  expect_cover_is_true(chosen, false);
  expect_cover_is_true(!chosen, false);
  for (int32_t q = 0; q < kQueries; ++q) {
    for (int32_t k = 0; k < kKeys; ++k) {
      const bool found = keys[2 * (kQueries + q)] == k || keys[2 * (kQueries + q) + 1] == k;
      ASSERT_EQ(chosen(At<int32_t, int32_t>{q, k, 1, 0}), found) << q << ' ' << k;
    }
  }
}

TEST(Mask, CombinedOnesNeverSayWrong) {
  expect_cover_is_true(Causal() & Window(5, 5), false);
  expect_cover_is_true(Causal() | Prefix(9), false);
  expect_cover_is_true((Window(3, 3) | Global(2)) & lengths(), false);
  expect_cover_is_true(Window(12, 0) & Dilated(3), false);
  expect_cover_is_true(!(segments() & !Causal()), false);
  expect_cover_is_true(FixedBlocks(7, 2), false);
  expect_cover_is_true(FixedBlocks(20, 1), false);
}

TEST(Mask, WindowIsInclusiveOnBothSides) {
  const auto sees = [](int32_t q, int32_t k) { return Window(2, 1)(At<int32_t, int32_t>{q, k, 0, 0}); };
  EXPECT_FALSE(sees(10, 7));
  EXPECT_TRUE(sees(10, 8));
  EXPECT_TRUE(sees(10, 11));
  EXPECT_FALSE(sees(10, 12));
}

// The keys 0 ... 11 that a query sees.
template <class M>
std::vector<int32_t> seen_by(int32_t query, const M& mask) {
  std::vector<int32_t> keys;
  for (int32_t k = 0; k < 12; ++k) {
    if (mask(At<int32_t, int32_t>{query, k, 0, 0})) keys.push_back(k);
  }
  return keys;
}

TEST(Mask, WhatEachQuerySees) {
  using Keys = std::vector<int32_t>;
  EXPECT_EQ(seen_by(7, Dilated(3)), (Keys{1, 4, 7, 10}));
  EXPECT_EQ(seen_by(2, Dilated(3)), (Keys{2, 5, 8, 11}));
  EXPECT_EQ(seen_by(7, Window(6, 0) & Dilated(3)), (Keys{1, 4, 7}));
  EXPECT_EQ(seen_by(7, Prefix(3)), (Keys{0, 1, 2}));
  EXPECT_EQ(seen_by(1, Causal() | Prefix(3)), (Keys{0, 1, 2}));
  EXPECT_EQ(seen_by(7, Global(2)), (Keys{0, 1}));
  EXPECT_EQ(seen_by(2, Global(2)), (Keys{0, 1}));
  EXPECT_EQ(seen_by(1, Global(2)), (Keys{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}));
  EXPECT_EQ(seen_by(2, Causal(3)), (Keys{0, 1, 2, 3, 4, 5}));
}

// The active instruction set's tile program against the number's face, at every pair of a tile that starts
// anywhere. Fused multiply-adds and the vector's own exp differ from the number's by a few units of the last
// place of numbers up to 40.
template <class Score, class M>
void expect_same_faces(const Score& score, const M& mask) {
  const Functors<Score, M> functors{score, mask};
  const TileProgram program = tile_program(functors);
  Random random(5);
  constexpr int32_t rows = 9, columns = 32, stride = 40;
  std::vector<float> scores(rows * stride), given;
  for (auto& s : scores) s = static_cast<float>(random.uniform(-30, 30));
  given = scores;
  const ScoreTile tile{scores.data(), nullptr, stride,      /*q0=*/20, /*k0=*/16,
                       rows,          columns, /*batch=*/0, /*head=*/1};
  if (program.plain.score) program.plain.score(program.functors, tile);
  if (program.plain.mask) program.plain.mask(program.functors, tile);
  for (int32_t r = 0; r < rows; ++r) {
    for (int32_t c = 0; c < stride; ++c) {
      const At<int32_t, int32_t> at{20 + r, 16 + c, 0, 1};
      const float got = scores[r * stride + c], before = given[r * stride + c];
      if (c >= columns) {
        ASSERT_EQ(got, before) << "beside the tile";
      } else if (!mask(at)) {
        ASSERT_EQ(got, -std::numeric_limits<float>::infinity());
      } else {
        ASSERT_NEAR(got, score(before, at), 1.2e-5);
      }
    }
  }
}

TEST(TileProgram, EqualsTheNumbersFace) {
  const std::vector<float> slopes = {0.5f, 0.25f};
  const Alibi alibi{{slopes.data(), 2, nullptr}};
  expect_same_faces(Identity{}, Causal());
  expect_same_faces(alibi, All{});
  expect_same_faces(Chain(SoftCap{20.0f}, alibi), Window(3, 2) & Dilated(2));
  expect_same_faces(SoftCap{5.0f}, (!(Causal() | Prefix(18))) | Global(22));
  expect_same_faces(Identity{}, segments() & lengths());
  expect_same_faces(GumbelNoise{0x123456789abcdef, 0.5f}, All{});
  std::vector<int32_t> keys;
  for (int32_t i = 0; i < 400; ++i) keys.push_back(16 + i * 7 % 40);
  expect_same_faces(Identity{}, !Chosen({keys.data(), 400, nullptr}, 0, 200, 4));
}

// Notes how many scores it was handed at once.
struct CountLanes {
  int* lanes;
  template <class V, class Q, class K>
  V operator()(V s, const At<Q, K>&) const {
    if constexpr (requires { V::kLanes; }) *lanes = V::kLanes;
    return s;
  }
};

TEST(TileProgram, KnowsWhichCoversAreQuick) {
  const auto is_quick = [](const auto& mask) { return tile_program(Functors(Identity{}, mask)).quick_cover; };
  EXPECT_TRUE(is_quick(Causal()));
  EXPECT_TRUE(is_quick((Window(3, 3) | Prefix(2) | Global(1)) & !Causal() & Dilated(2) & lengths()));
  EXPECT_FALSE(is_quick(segments())) << "it reads tables";
  EXPECT_FALSE(is_quick(Window(3, 3) & segments()));
  EXPECT_FALSE(is_quick((!segments()) | Causal()));
}

TEST(TileProgram, RunsOnTheActiveInstructionSet) {
  int lanes = 0;
  const Functors<CountLanes, All> functors{{&lanes}, {}};
  const TileProgram program = tile_program(functors);
  std::vector<float> scores(16);
  program.plain.score(program.functors, {scores.data(), nullptr, 16, 0, 0, 1, 16, 0, 0});
  EXPECT_EQ(lanes, active_isa() >= Isa::avx512 ? 16 : active_isa() >= Isa::avx2 ? 8 : 4);
}

TEST(TileProgram, WhatChangesNothingIsNotCalled) {
  const Functors<Identity, All> functors{};
  const TileProgram program = tile_program(functors);
  EXPECT_EQ(program.plain.score, nullptr);
  EXPECT_EQ(program.plain.mask, nullptr);
  EXPECT_EQ(program.cover, nullptr);
}

// Of pairs: the distribution function exp(-exp(-x)), to the ends that 31 bits reach, and other numbers for
// other places.
TEST(Gumbel, IsDistributedByItsLaw) {
  constexpr int32_t kSide = 400;
  std::vector<int64_t> below(5);
  const double bounds[] = {-1.5, -0.5, 0.5, 2.0, 5.0};
  int32_t twins = 0;
  for (int32_t q = 0; q < kSide; ++q) {
    for (int32_t k = 0; k < kSide; ++k) {
      const float g = gumbel(9, At<int32_t, int32_t>{q, k, 1, 2});
      for (size_t i = 0; i < 5; ++i) below[i] += g < bounds[i] ? 1 : 0;
      twins += g == gumbel(9, At<int32_t, int32_t>{k, q, 1, 2}) ? 1 : 0;
      twins += g == gumbel(9, At<int32_t, int32_t>{q, k, 2, 1}) ? 1 : 0;
    }
  }
  for (size_t i = 0; i < 5; ++i) {
    const double p = std::exp(-std::exp(-bounds[i])), count = kSide * kSide;
    EXPECT_LT(std::abs(static_cast<double>(below[i]) - p * count), 4.0 * std::sqrt(p * (1 - p) * count));
  }
  EXPECT_LE(twins, kSide + 5) << "but for q = k";
  EXPECT_NEAR(gumbel_of_bits(0), 32 * std::log(2.0), 1e-4);
  EXPECT_TRUE(std::isfinite(gumbel_of_bits(0xffffffff)));
}

}  // namespace
}  // namespace fovea
