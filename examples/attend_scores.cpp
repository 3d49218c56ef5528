// Scores of published networks in the fused kernel: Swin v2's shifted windows, T5's buckets, BigBird's
// blocks.
#include <ATen/ATen.h>

#include <cmath>
#include <cstdio>

#include "fovea/ops/attend.h"
#include "fovea/ops/bigbird.h"
#include "fovea/ops/shifted_windows.h"
#include "fovea/ops/t5_buckets.h"

// Prints the path that ran, and whether the learned numbers got a gradient.
bool report(const char* name, const at::Tensor& x, const at::Tensor& learned,
            const fovea::AttendOptions& options) {
  const auto path = fovea::attend_choice(x, x, x, options).name;
  fovea::attend(x, x, x, options).out.square().sum().backward();
  const bool has = learned.grad().defined() && learned.grad().abs().sum().item<double>() > 0.0;
  std::printf("%s: %s, %s\n", name, path.c_str(), has ? "learns" : "learns nothing");
  return path == "fused" && has;
}

bool swin() {
  // 2 images of 28 x 28 positions in windows of 7 x 7, rolled by 3: 2 x 16 windows, 4 heads of 32.
  const auto x = at::randn({32, 4, 49, 32});
  const auto logit_scale = at::full({4}, std::log(10.0)).requires_grad_(), table = at::randn({4, 13 * 13});
  fovea::AttendOptions options;
  options.similarity = fovea::Cosine{logit_scale.clamp_max(std::log(100.0)).exp()};
  options.relative_grid = fovea::AttendGrid{table, 7, 7};
  options.segments = fovea::shifted_window_segments(2, {28, 28}, {7, 7}, {3, 3});
  return report("swin v2", x, logit_scale, options);
}

bool t5() {
  const auto x = at::randn({1, 8, 512, 64}), embedding = at::randn({32, 8}).requires_grad_();
  fovea::AttendOptions options;
  options.scale = 1.0;
  options.relative_table = fovea::t5_relative_table(embedding, {.bidirectional = true, .max_distance = 128});
  return report("t5", x, embedding, options);
}

bool bigbird() {
  const auto x = at::randn({1, 8, 2048, 64}).requires_grad_();
  fovea::AttendOptions options;
  options.blocks = fovea::bigbird_blocks(2048, 8, {.size = 64, .window = 3, .random = 3, .seed = 1});
  return report("bigbird", x, x, options);
}

int main() {
  const bool all[] = {swin(), t5(), bigbird()};
  return all[0] && all[1] && all[2] ? 0 : 1;
}
