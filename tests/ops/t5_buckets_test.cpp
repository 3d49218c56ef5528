#include "fovea/ops/t5_buckets.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>

#include "fovea/core/error.h"
#include "fovea/io/tensors.h"
#include "fovea/ops/attend.h"
#include "tests/ops/expect_scores.h"

namespace fovea {
namespace {

using test::Tensors;

struct Setting {
  bool bidirectional;
  int64_t buckets, max_distance;
};

// Of the last four, two need the logarithm in float32 and two its operations in their order.
const std::vector<Setting> kSettings = {{true, 32, 128}, {false, 32, 128}, {true, 64, 256},  {false, 16, 20},
                                        {true, 8, 1000}, {false, 33, 100}, {true, 4, 2},     {true, 96, 81},
                                        {false, 48, 81}, {true, 64, 81},   {false, 128, 100}};

std::string name_of(const Setting& s) {
  return "t5." + std::to_string(static_cast<int>(s.bidirectional)) + "." + std::to_string(s.buckets) + "." +
         std::to_string(s.max_distance);
}

// scripts/parity_tests/scores_golden.py
TEST(T5Buckets, AreTransformersBuckets) {
  const auto golden = io::load_tensors(FOVEA_TEST_DATA "/attend/scores.safetensors");
  for (const auto& s : kSettings) {
    const at::Tensor distances = at::arange(-s.max_distance - 100, s.max_distance + 101);
    const at::Tensor got = t5_buckets(distances, s.buckets, {s.bidirectional, s.max_distance});
    EXPECT_TRUE(at::equal(got, golden.at(name_of(s)).to(at::kLong))) << name_of(s);
  }
}

TEST(T5Buckets, OfAnyShapeAndBeyondTheLargestDistance) {
  const at::Tensor distances =
      at::tensor({int64_t{-1000000}, int64_t{-1}, int64_t{0}, int64_t{1}, int64_t{7}, int64_t{1000000}});
  EXPECT_TRUE(
      at::equal(t5_buckets(distances.view({2, 3}), 32).flatten(), at::tensor({15, 1, 0, 17, 23, 31})));
  EXPECT_TRUE(
      at::equal(t5_buckets(distances, 32, {.bidirectional = false}), at::tensor({31, 1, 0, 0, 0, 0})));
}

// The embedding by the bucket of each pair, as a bias.
TEST(AttendT5, TheTableIsTheBiasOfBuckets) {
  at::manual_seed(111);
  for (const auto& s : kSettings) {
    const T5Buckets buckets{s.bidirectional, s.max_distance};
    for (const auto& [n, m] : std::vector<std::pair<int64_t, int64_t>>{{150, 300}, {300, 150}, {16, 16}}) {
      const at::Tensor distance = at::arange(m) - at::arange(n).unsqueeze(1);
      const at::Tensor pairs = t5_buckets(distance, s.buckets, buckets);
      test::expect_same(
          [&](const Tensors& t) {
            AttendOptions options;
            options.scale = 1.0;
            options.relative_table = t5_relative_table(t[3], buckets);
            EXPECT_EQ(attend_choice(t[0], t[1], t[2], options).name, "fused");
            return attend(t[0], t[1], t[2], options).out;
          },
          [&](const Tensors& t) {
            const at::Tensor bias = t[3].index({pairs}).permute({2, 0, 1});
            return test::softmax_times(at::matmul(t[0], t[1].transpose(2, 3)) + bias, t[2]);
          },
          {at::randn({2, 3, n, 16}) * 0.25, at::randn({2, 3, m, 16}), at::randn({2, 3, m, 8}),
           at::randn({s.buckets, 3})},
          1e-5, name_of(s));
    }
  }
}

TEST(T5Buckets, RefuseWhatDoesNotFit) {
  const at::Tensor distances = at::arange(5);
  EXPECT_THROW(t5_buckets(distances.to(at::kInt), 32), Error);
  EXPECT_THROW(t5_buckets(distances, 2), Error);
  EXPECT_THROW(t5_buckets(distances, 32, {true, 8}), Error);
  EXPECT_THROW(t5_relative_table(at::randn({32})), Error);
}

}  // namespace
}  // namespace fovea
