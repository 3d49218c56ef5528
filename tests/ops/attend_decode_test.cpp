#include "fovea/ops/attend_decode.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "fovea/core/random.h"
#include "tests/ops/attend_cases.h"
#include "tests/ops/expect_attend.h"
#include "tests/ops/tensors.h"

namespace fovea {
namespace {

using test::AttendCase, test::Operands, test::error, test::kInfinity, test::kNan, test::same_bits,
    test::scaled, test::tolerance;

// Caches of every length, and few queries.
std::vector<AttendCase> decode_cases(int64_t count, uint64_t seed) {
  Random random(seed);
  const auto draw = [&random](const auto& values) { return values[random.below(std::size(values))]; };
  const std::vector<int64_t> dims = {1, 8, 24, 64, 80, 128, 256}, groups = {1, 2, 3, 4, 8, 16},
                             lengths = {0, 1, 15, 17, 127, 128, 257, 512, 513, 1000, 5000};
  const std::vector<at::ScalarType> types = {at::kFloat, at::kBFloat16, at::kHalf};
  std::vector<AttendCase> cases;
  for (int64_t i = 0; i < count; ++i) {
    const auto kv_heads = static_cast<int64_t>(1 + random.below(3)), group = draw(groups);
    const int64_t dim = draw(dims);
    cases.push_back({.batch = static_cast<int64_t>(1 + random.below(3)),
                     .heads = kv_heads * group,
                     .kv_heads = kv_heads,
                     .queries = static_cast<int64_t>(1 + random.below(4)),
                     .keys = draw(lengths),
                     .dim = dim,
                     .value_dim = random.below(3) == 0 ? draw(dims) : dim,
                     .type = draw(types),
                     .layout = draw(test::layouts()),
                     .functors = draw(test::functor_names())});
  }
  return cases;
}

void expect_right_decode(const AttendCase& c) {
  test::expect_right(attend_decode, c, test::make_options_without_dropout(c));
}

TEST(AttendDecode, EqualsTheDefinition) {
  at::manual_seed(41);
  test::for_each_case(decode_cases(scaled(150), 43), expect_right_decode);
}

TEST(AttendDecode, EveryFunctorWithEveryLayout) {
  at::manual_seed(42);
  test::for_each_case(test::every_functor_with_every_layout(
                          test::functor_names(), {2, 6, 2, 3, 700, 24, 40, at::kFloat, "", ""},
                          {2, 4, 2, 2, 600, 72, 24, at::kBFloat16, "padded", ""}),
                      expect_right_decode);
}

TEST(AttendDecode, SimilaritiesAndRelativeKeys) {
  at::manual_seed(59);
  for (auto c : decode_cases(scaled(60), 51)) {
    for (const auto& functors : test::product_names()) {
      c.functors = functors;
      expect_right_decode(c);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(AttendDecode, EveryNumberOfRows) {
  at::manual_seed(43);
  for (int64_t group = 1; group <= 9; ++group) {
    for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
      expect_right_decode({1, group, 1, 1, 300, 80, 80, type, "padded", "none"});
      if (HasFatalFailure()) return;
    }
  }
}

TEST(AttendDecode, ScalesOfAnySign) {
  at::manual_seed(44);
  const Operands t = test::make_operands({1, 4, 2, 2, 600, 16, 16, at::kFloat, "contiguous", "none"});
  test::expect_right_at_any_scale(attend_decode, t, CausalAlignment::bottom_right);
}

// Neither the threads nor the rest of the batch show in a result.
TEST(AttendDecode, TheSameBitsOnAnyNumberOfThreadsAndInAnyBatch) {
  at::manual_seed(46);
  const int before = at::get_num_threads();
  for (auto c : decode_cases(scaled(25), 47)) {
    c.functors = "bottom_right";
    const Operands t = test::make_operands(c);
    const AttendOptions options = test::make_options(c);
    at::set_num_threads(1);
    const at::Tensor one = attend_decode(t.q, t.k, t.v, options).out;
    for (const int threads : {2, 3}) {
      at::set_num_threads(threads);
      EXPECT_TRUE(same_bits(one, attend_decode(t.q, t.k, t.v, options).out)) << c.name() << " " << threads;
    }
    const int64_t last = c.batch - 1;
    const auto alone = [&](const at::Tensor& x) { return x.narrow(0, last, 1); };
    EXPECT_TRUE(same_bits(alone(one), attend_decode(alone(t.q), alone(t.k), alone(t.v), options).out))
        << c.name();
  }
  at::set_num_threads(before);
}

TEST(AttendDecode, WhatIsHiddenHasNoInfluence) {
  at::manual_seed(48);
  const std::vector<std::pair<const char*, int64_t>> seen_by_some = {
      {"causal", 2},   {"bottom_right", 718}, {"window", 7},        {"dilated", 2},
      {"global", 600}, {"segments", 0},       {"mask_queries", 650}};
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const auto& [functors, key] : seen_by_some) {
      const AttendCase c{1, 4, 2, 4, 720, 40, 40, type, "padded", functors};
      test::expect_isolated(attend_decode, c, {key, false, kNan});
      for (const double poison : {kNan, kInfinity, -kInfinity}) {
        test::expect_isolated(attend_decode, c, {key, true, poison});
      }
    }
  }
}

// Blocks of keys that no query sees are not read: they stand in memory that may not be.
TEST(AttendDecode, SkippedBlocksAreNotRead) {
  at::manual_seed(49);
  const int64_t keys = 8192, dim = 64, bytes = keys * dim * 4, hidden = keys - 768;
  void* room = mmap(nullptr, 2 * bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(room, MAP_FAILED);
  const at::Tensor kv = at::from_blob(room, {2, 1, 1, keys, dim}, at::kFloat);
  kv.normal_();
  const at::Tensor q = at::randn({1, 4, 1, dim});
  AttendOptions options;
  options.causal = CausalAlignment::bottom_right;
  options.functors = bind(Identity{}, Window(Window::kOpen, Window::kOpen) & !Prefix(hidden));
  const at::Tensor exact = test::exact_attend({q, kv[0], kv[1]}, options);
  for (int64_t i = 0; i < 2; ++i) {
    ASSERT_EQ(mprotect(static_cast<char*>(room) + i * bytes, hidden * dim * 4, PROT_NONE), 0);
  }
  EXPECT_LE(error(attend_decode(q, kv[0], kv[1], options).out, exact, at::ones({1})), 3e-5);
  munmap(room, 2 * bytes);
}

// The last row ends where memory does.
TEST(AttendDecode, ReadsNothingBeyondTheLastKey) {
  at::manual_seed(50);
  const int64_t page = sysconf(_SC_PAGESIZE), bytes = 64 * page;
  void* room = mmap(nullptr, bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(room, MAP_FAILED);
  ASSERT_EQ(mprotect(static_cast<char*>(room) + bytes, page, PROT_NONE), 0);
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const int64_t dim : {1, 7, 24, 72, 80, 128}) {
      for (const int64_t keys : {1, 3, 130}) {
        const int64_t size = keys * dim * static_cast<int64_t>(c10::elementSize(type));
        const at::Tensor last =
            at::from_blob(static_cast<char*>(room) + bytes - size, {1, 1, keys, dim}, type);
        last.copy_(at::randn({1, 1, keys, dim}));
        const Operands t{at::randn({1, 3, 1, dim}).to(type), last, last};
        EXPECT_LE(test::output_error(attend_decode(t.q, t.k, t.v, {}).out, t, {}), tolerance(type))
            << dim << " " << keys;
      }
    }
  }
  munmap(room, bytes + page);
}

TEST(AttendDecode, LogSumExp) {
  at::manual_seed(52);
  for (const char* functors : {"none", "window", "lengths", "everything"}) {
    test::expect_right_lse(attend_decode, {3, 4, 2, 3, 1100, 32, 32, at::kFloat, "contiguous", functors});
  }
}

TEST(AttendDecode, ASpoiltQuerySpoilsItsOwnRow) {
  at::manual_seed(51);
  const Operands t = test::make_operands({1, 4, 2, 3, 800, 16, 16, at::kFloat, "contiguous", "none"});
  const at::Tensor clean = attend_decode(t.q, t.k, t.v, {}).out;
  t.q.select(2, 1).fill_(kNan);
  const at::Tensor out = attend_decode(t.q, t.k, t.v, {}).out;
  EXPECT_TRUE(at::isnan(out.select(2, 1)).all().item<bool>());
  for (const int64_t row : {0, 2}) EXPECT_TRUE(same_bits(out.select(2, row), clean.select(2, row)));
}

TEST(AttendDecode, IsWhatAttendRunsForFewQueries) {
  const auto q = at::randn({1, 8, 1, 16}), k = at::randn({1, 2, 40, 16});
  EXPECT_EQ(attend_choice(q, k, k).name, "decode");
  const auto refusal = [](const at::Tensor& q, const at::Tensor& k, const AttendOptions& options) {
    return why_not_decode(q, k, k, options).value_or("");
  };
  AttendOptions dropout, weights;
  dropout.dropout_p = 0.5;
  weights.weights = true;
  EXPECT_EQ(refusal(q, k, dropout), "dropout is asked for");
  EXPECT_EQ(refusal(q, k, weights), "the weights are asked for");
  EXPECT_EQ(refusal(q.clone().requires_grad_(), k, {}), "a gradient is wanted");
  EXPECT_EQ(refusal(q.to(at::kDouble), k.to(at::kDouble), {}),
            "the type is not float32, bfloat16 or float16");
  EXPECT_EQ(refusal(at::randn({1, 8, 9, 16}), k, {}), "so many queries are quicker in tiles");
  EXPECT_EQ(refusal(at::randn({1, 8, 8, 16}), k, {}), "");
  EXPECT_EQ(refusal(q.to(at::kBFloat16).expand({1, 8, 4, 16}), k.to(at::kBFloat16), {}), "");
}

}  // namespace
}  // namespace fovea
