#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <string>

#include "fovea/core/error.h"
#include "fovea/io/tensors.h"
#include "fovea/ops/attend.h"
#include "fovea/ops/shifted_windows.h"
#include "fovea/ops/table_functors.h"
#include "tests/ops/expect_attend.h"
#include "tests/ops/expect_scores.h"

namespace fovea {
namespace {

using test::Tensors, test::expect_same;

at::Tensor attend_fused_only(const Tensors& t, const AttendOptions& options) {
  EXPECT_EQ(attend_choice(t[0], t[1], t[2], options).name, "fused");
  return attend(t[0], t[1], t[2], options).out;
}

// table[h, (y_i - y_j + height - 1)(2 width - 1) + x_i - x_j + width - 1], pair by pair.
at::Tensor dense_bias(const at::Tensor& table, int64_t height, int64_t width) {
  std::vector<int64_t> entries;
  for (int64_t i = 0; i < height * width; ++i) {
    for (int64_t j = 0; j < height * width; ++j) {
      entries.push_back((i / width - j / width + height - 1) * (2 * width - 1) + i % width - j % width +
                        width - 1);
    }
  }
  return table.index_select(1, at::tensor(entries)).view({1, -1, height * width, height * width});
}

void expect_grid(int64_t height, int64_t width, int64_t table_heads, at::ScalarType type, double tolerance) {
  const int64_t n = height * width;
  const Tensors inputs = {at::randn({3, 4, n, 16}).to(type), at::randn({3, 2, n, 16}).to(type),
                          at::randn({3, 2, n, 24}).to(type),
                          at::randn({table_heads, (2 * height - 1) * (2 * width - 1)}).to(type)};
  const at::Tensor seen = at::rand({3, 1, n, n}) > 0.2;
  expect_same(
      [&](const Tensors& t) {
        AttendOptions options;
        options.relative_grid = AttendGrid{t[3], height, width};
        options.mask = seen | at::eye(n).to(at::kBool);
        return attend_fused_only(t, options);
      },
      [&](const Tensors& t) {
        const at::Tensor scores = at::matmul(t[0], t[1].repeat_interleave(2, 1).transpose(2, 3)) / 4.0;
        return test::softmax_times(scores + dense_bias(t[3], height, width), t[2],
                                   seen | at::eye(n).to(at::kBool));
      },
      inputs, tolerance, std::to_string(height) + "x" + std::to_string(width));
}

TEST(AttendGrid, IsADenseBiasByRowsAndColumns) {
  at::manual_seed(91);
  for (const auto& [height, width] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {1, 15}, {16, 1}, {1, 17}, {7, 9}, {8, 8}, {7, 7}, {10, 10}, {16, 16}, {1, 257}}) {
    // Up to 3 x 16 positions as a dense bias, more by their places.
    for (const int64_t heads : {1, 4}) expect_grid(height, width, heads, at::kFloat, 1e-5);
  }
  expect_grid(12, 12, 4, at::kHalf, 1.5e-3);
  expect_grid(12, 12, 4, at::kBFloat16, 1.2e-2);
}

// Beside the table's own numbers only a column for each lane of a vector.
TEST(AttendGrid, SumsAreOfTheTablesSize) {
  const GridFunctors functors(at::randn({32, 31 * 31}), 16, 16);
  const at::Tensor sums = functors.make_sums(1, 32);
  EXPECT_EQ(sums.storage().nbytes(), 32u * 31 * 31 * TableSums::kLanes * sizeof(float));
}

TEST(AttendGrid, TheSameBitsOnAnyNumberOfThreads) {
  at::manual_seed(92);
  const int before = at::get_num_threads();
  for (const auto& [windows, heads] :
       std::vector<std::pair<int64_t, int64_t>>{{37, 1}, {37, 3}, {3, 1}, {3, 3}}) {
    const at::Tensor x = at::randn({windows, 3, 49, 16}), grad = at::randn({windows, 3, 49, 16});
    const at::Tensor table = at::randn({heads, 169}).requires_grad_();
    AttendOptions options;
    options.relative_grid = AttendGrid{table, 7, 7};
    const auto learned = [&](int threads) {
      at::set_num_threads(threads);
      return torch::autograd::grad({attend_fused_only({x, x, x}, options)}, {table}, {grad})[0];
    };
    const at::Tensor one = learned(1);
    EXPECT_TRUE(at::equal(one, learned(2)));
    EXPECT_TRUE(at::equal(one, learned(5)));
  }
  at::set_num_threads(before);
}

TEST(AttendGrid, RefusesWhatDoesNotFit) {
  const at::Tensor x = at::randn({1, 2, 12, 8});
  const auto refusal = [&](const AttendGrid& grid) -> std::string {
    AttendOptions options;
    options.relative_grid = grid;
    try {
      attend(x, x, x, options);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(refusal({at::randn({2, 35}), 3, 4}), "");
  EXPECT_NE(
      refusal({at::randn({2, 49}), 4, 4}).find("[attend] queries and keys must be the height times width"),
      std::string::npos);
  EXPECT_NE(refusal({at::randn({35, 2}), 3, 4}).find("[attend] the table of relative_grid must be"),
            std::string::npos);
}

// (B, H, W, C) rolled and cut into windows, (B windows, tokens, C), and back.
at::Tensor windows_of(const at::Tensor& x, GridSize window, GridSize shift) {
  return x.roll({-shift.height, -shift.width}, {1, 2})
      .unflatten(2, {-1, window.width})
      .unflatten(1, {-1, window.height})
      .transpose(2, 3)
      .flatten(3, 4)
      .reshape({-1, window.height * window.width, x.size(3)});
}

at::Tensor grid_of(const at::Tensor& t, at::IntArrayRef shape, GridSize window, GridSize shift) {
  return t
      .view({shape[0], shape[1] / window.height, shape[2] / window.width, window.height, window.width,
             shape[3]})
      .transpose(2, 3)
      .reshape(shape)
      .roll({shift.height, shift.width}, {1, 2});
}

// Swin's attention of torchvision: windows of 4 x 6 in a grid of 8 x 12, shifted by 2 x 3, two heads.
at::Tensor shifted_windows(const at::Tensor& x, const at::Tensor& qkv, const at::Tensor& table,
                           AttendSimilarity similarity) {
  const GridSize window{4, 6}, shift{2, 3};
  const at::Tensor parts = at::matmul(windows_of(x, window, shift), qkv.t());
  const auto part = [&](int64_t i) { return parts.unflatten(2, {3, 2, 8}).select(2, i).transpose(1, 2); };
  AttendOptions options;
  options.similarity = std::move(similarity);
  options.relative_grid = AttendGrid{table.t(), 4, 6};
  options.segments = shifted_window_segments(2, {8, 12}, window, shift);
  const at::Tensor out = attend_fused_only({part(0), part(1), part(2)}, options);
  return grid_of(out.transpose(1, 2).flatten(2), x.sizes(), window, shift);
}

TEST(AttendGrid, IsTorchvisionsSwin) {
  const auto golden = io::load_tensors(FOVEA_TEST_DATA "/attend/scores.safetensors");
  constexpr double kTolerance = 2e-6;
  for (const std::string name : {"swin", "swin_v2"}) {
    const bool cosine = name == "swin_v2";
    const auto of = [&](const std::string& key) { return golden.at(name + "." + key); };
    Tensors inputs = {of("x"), of("table")};
    if (cosine) inputs.push_back(of("logit_scale"));
    const Tensors got = test::with_gradients(
        [&](const Tensors& t) {
          AttendSimilarity similarity = ScaledDot{};
          if (cosine) similarity = Cosine{t[2].flatten().clamp_max(std::log(100.0)).exp()};
          return shifted_windows(t[0], of("qkv"), t[1], similarity);
        },
        inputs, of("weights"));
    EXPECT_LT(test::norm_error(got[0], of("out")), kTolerance) << name;
    EXPECT_LT(test::norm_error(got[1], of("grad_x")), kTolerance) << name;
    EXPECT_LT(test::norm_error(got[2], of("grad_table")), kTolerance) << name;
    // A sum over all queries, whose terms cancel.
    if (cosine) {
      EXPECT_LT(test::norm_error(got[3], of("grad_logit_scale")), 5 * kTolerance);
    }
  }
}

TEST(ShiftedWindows, AreTimmsMasks) {
  const auto golden = io::load_tensors(FOVEA_TEST_DATA "/attend/scores.safetensors");
  for (int i = 0; i < 7; ++i) {
    const std::string name = "mask." + std::to_string(i);
    const at::Tensor sizes = golden.at(name + ".sizes");
    const auto size = [&](int64_t at) {
      return GridSize{sizes[at].item<int64_t>(), sizes[at + 1].item<int64_t>()};
    };
    const AttendSegments segments = shifted_window_segments(3, size(0), size(2), size(4));
    const at::Tensor same = segments.query_ids.unsqueeze(2) == segments.key_ids.unsqueeze(1);
    EXPECT_TRUE(at::equal(same, golden.at(name).to(at::kBool).repeat({3, 1, 1}))) << name;
  }
}

TEST(ShiftedWindows, RefuseWhatDoesNotFit) {
  EXPECT_THROW(shifted_window_segments(1, {8, 9}, {4, 4}, {0, 0}), Error);
  EXPECT_THROW(shifted_window_segments(1, {8, 8}, {4, 4}, {4, 0}), Error);
  EXPECT_THROW(shifted_window_segments(1, {8, 4}, {4, 4}, {2, 2}), Error);
  EXPECT_NO_THROW(shifted_window_segments(1, {8, 4}, {4, 4}, {2, 0}));
}

}  // namespace
}  // namespace fovea
