#include "fovea/ops/attend_fused.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "fovea/core/isa.h"
#include "tests/ops/attend_cases.h"
#include "tests/ops/expect_attend.h"
#include "tests/support/numbers.h"

namespace fovea {
namespace {

using test::AttendCase, test::Operands, test::error, test::same_bits, test::scaled;

AttendResult run(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                 const AttendOptions& options) {
  EXPECT_EQ(why_not_fused(q, k, v, options), std::nullopt);
  return attend_fused(q, k, v, options);
}

void expect_right_fused(const AttendCase& c) { test::expect_right(run, c, test::make_options(c)); }

TEST(AttendFused, EqualsTheDefinition) {
  at::manual_seed(11);
  test::for_each_case(test::random_cases(scaled(100), 17, test::fused_names()), expect_right_fused);
}

TEST(AttendFused, EveryFunctorWithEveryLayout) {
  at::manual_seed(12);
  test::for_each_case(test::every_functor_with_every_layout(
                          test::fused_names(), {2, 2, 1, 290, 333, 24, 40, at::kFloat, "", ""},
                          {2, 4, 2, 130, 97, 40, 24, at::kBFloat16, "contiguous", ""}),
                      expect_right_fused);
}

// Under a mask each few queries have rows of the keys from the first to the last that they see.
TEST(AttendFused, FewKeysOfMany) {
  at::manual_seed(25);
  std::vector<AttendCase> cases;
  for (const auto& functors : test::fused_names()) {
    cases.push_back({2, 4, 2, 300, 333, 32, 48, at::kFloat, "padded", functors});
    cases.push_back({2, 2, 2, 1100, 1030, 16, 16, at::kFloat, "BTHD", functors});
  }
  test::for_each_case(cases, expect_right_fused);
}

TEST(AttendFused, SimilaritiesAndRelativeKeys) {
  at::manual_seed(21);
  test::for_each_case(test::random_cases(scaled(50), 18, test::product_names()), expect_right_fused);
}

TEST(AttendFused, PeakedScores) {
  at::manual_seed(13);
  for (const double factor : {3.0, 6.0, 50.0}) {
    Operands t = test::make_operands({1, 2, 2, 257, 500, 64, 64, at::kFloat, "contiguous", "none"});
    t.q *= factor;
    const at::Tensor out = attend_fused(t.q, t.k, t.v, {}).out;
    // A score of |s| errs by |s| 2^-22 or so, and its weight by as much.
    const double largest = (at::matmul(t.q, t.k.transpose(2, 3)).abs().max() / 8).item<double>();
    EXPECT_LE(error(out, test::exact_attend(t, {}), t.v.abs().max()), 2e-6 + largest * 0x1p-22) << factor;
  }
}

TEST(AttendFused, ScalesOfAnySign) {
  at::manual_seed(14);
  const Operands t = test::make_operands({1, 2, 1, 70, 90, 16, 16, at::kFloat, "contiguous", "none"});
  test::expect_right_at_any_scale(attend_fused, t, CausalAlignment::top_left);
}

TEST(AttendFused, TheSameBitsOnAnyNumberOfThreads) {
  at::manual_seed(16);
  const int before = at::get_num_threads();
  for (const auto& c : test::random_cases(scaled(20), 23, test::fused_names())) {
    const Operands t = test::make_operands(c);
    const AttendOptions options = test::make_options(c);
    at::set_num_threads(1);
    const at::Tensor one = attend_fused(t.q, t.k, t.v, options).out;
    for (const int threads : {2, 5}) {
      at::set_num_threads(threads);
      EXPECT_TRUE(same_bits(one, attend_fused(t.q, t.k, t.v, options).out))
          << c.name() << " threads " << threads;
    }
  }
  at::set_num_threads(before);
}

TEST(AttendFused, WhatIsHiddenHasNoInfluence) {
  at::manual_seed(17);
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const char* functors :
         {"causal", "window", "dilated", "global", "segments", "prefix", "sink_causal", "sigmoid_causal"}) {
      const AttendCase c{1, 4, 2, 200, 200, 32, 32, type, "padded", functors};
      test::expect_isolated(attend_fused, c, {133, false, test::kNan});
      for (const double poison : {test::kNan, test::kInfinity, -test::kInfinity}) {
        test::expect_isolated(attend_fused, c, {133, true, poison});
      }
    }
  }
}

TEST(AttendFused, WhatIsHiddenOfManyKeysHasNoInfluence) {
  at::manual_seed(26);
  for (const char* functors : {"window", "dilated", "segments", "documents", "blocks"}) {
    const AttendCase c{1, 2, 2, 900, 1000, 16, 16, at::kFloat, "padded", functors};
    test::expect_isolated(attend_fused, c, {533, false, test::kNan});
    for (const double poison : {test::kNan, test::kInfinity}) {
      test::expect_isolated(attend_fused, c, {533, true, poison});
    }
  }
}

TEST(AttendFused, WhatIsHiddenOfFewKeysHasNoInfluence) {
  at::manual_seed(20);
  for (const char* functors : {"causal", "window", "dilated", "global", "segments", "prefix"}) {
    const AttendCase c{1, 4, 2, 70, 60, 32, 32, at::kFloat, "padded", functors};
    test::expect_isolated(attend_fused, c, {41, false, test::kNan});
    for (const double poison : {test::kNan, test::kInfinity, -test::kInfinity}) {
      test::expect_isolated(attend_fused, c, {41, true, poison});
    }
  }
}

TEST(AttendFused, ASpoiltQuerySpoilsItsOwnRow) {
  at::manual_seed(18);
  const Operands t = test::make_operands({1, 2, 2, 100, 80, 16, 16, at::kFloat, "contiguous", "none"});
  const at::Tensor clean = attend_fused(t.q, t.k, t.v, {}).out;
  t.q.select(2, 41).fill_(test::kNan);
  const at::Tensor out = attend_fused(t.q, t.k, t.v, {}).out;
  EXPECT_TRUE(at::isnan(out.select(2, 41)).all().item<bool>());
  EXPECT_TRUE(same_bits(out.slice(2, 0, 41), clean.slice(2, 0, 41)));
  EXPECT_TRUE(same_bits(out.slice(2, 42), clean.slice(2, 42)));
}

TEST(AttendFused, LogSumExp) {
  at::manual_seed(19);
  for (const char* functors :
       {"none", "window", "lengths", "everything", "off_by_one", "sink_causal", "sink_all"}) {
    test::expect_right_lse(attend_fused, {2, 4, 2, 100, 77, 32, 32, at::kFloat, "contiguous", functors});
  }
}

// Attention over two parts of the keys, merged, is attention over all.
TEST(AttendFused, PartsOfTheKeysMergeByLogSumExp) {
  at::manual_seed(20);
  const Operands t = test::make_operands({1, 2, 2, 60, 200, 32, 32, at::kFloat, "contiguous", "none"});
  AttendOptions options;
  options.lse = true;
  const auto part = [&](int64_t begin, int64_t end) {
    return attend_fused(t.q, t.k.slice(2, begin, end), t.v.slice(2, begin, end), options);
  };
  const auto a = part(0, 70), b = part(70, 200), whole = part(0, 200);
  const at::Tensor lse = at::logaddexp(a.lse, b.lse);
  const at::Tensor merged =
      a.out * (a.lse - lse).exp().unsqueeze(3) + b.out * (b.lse - lse).exp().unsqueeze(3);
  EXPECT_TRUE(at::allclose(lse, whole.lse, 1e-6, 2e-6));
  EXPECT_TRUE(at::allclose(merged, whole.out, 1e-5, 2e-6));
}

TEST(AttendFused, RefusesWhatItCannotDoAndSaysWhy) {
  const auto q = at::randn({1, 2, 5, 8});
  const auto refusal = [](const at::Tensor& t, const AttendOptions& options) {
    return why_not_fused(t, t, t, options).value_or("");
  };
  AttendOptions weights;
  weights.weights = true;
  EXPECT_EQ(refusal(q, weights), "the weights are asked for");
  EXPECT_EQ(refusal(q.to(at::kDouble), {}), "the type is not float32, bfloat16 or float16");
  EXPECT_EQ(refusal(at::randn({1, 1, 2, 257}), {}), "a head size is not in 1 ... 256");
  AttendOptions sparse;
  sparse.normaliser = Sparsemax{};
  EXPECT_EQ(refusal(q, sparse), "the normaliser is sparsemax");
  sparse.normaliser = Entmax{};
  EXPECT_EQ(refusal(q, sparse), "the normaliser is entmax15");
}

int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  int64_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

// Tile products are compiled once for each shape, and never freed: shapes must stay few.
TEST(AttendFused, MemoryDoesNotGrowWithTheNumberOfLengths) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer keeps freed memory";
#endif
  const auto attend_to_itself = [](int64_t length) {
    const at::Tensor x = at::randn({1, 1, length, 16});
    attend_fused(x, x, x, {});
  };
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  for (int64_t length = 1; length <= 1000; length += 8) attend_to_itself(length);
  const int64_t before = resident_bytes();
  for (int64_t length = 1; length <= 1000; ++length) attend_to_itself(length);
  EXPECT_LT(resident_bytes() - before, 2 << 20);
  at::set_num_threads(threads);
}

}  // namespace
}  // namespace fovea
