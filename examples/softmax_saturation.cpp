// Why scores are divided by the root of the head size: without it they grow with it, and softmax is all but a
// choice of one key. Writes softmax_saturation.svg into the folder that is given, or the current one.
#include <ATen/ATen.h>

#include <cmath>
#include <cstdio>
#include <filesystem>

#include "examples/arguments.h"
#include "fovea/explain/charts.h"
#include "fovea/io/file.h"
#include "fovea/ops/attend_observe.h"

// The entropy of the weights over 256 keys, as a share of the largest possible, and the share of the heaviest
// key.
struct Saturation {
  double entropy, heaviest;
};

Saturation saturation(int64_t size, double scale) {
  at::manual_seed(2);
  constexpr int64_t kKeys = 256;
  const at::Tensor q = at::randn({1, 1, 512, size}), k = at::randn({1, 1, kKeys, size});
  fovea::AttendOptions options;
  options.scale = scale;
  fovea::AttendObservation wanted;
  wanted.entropy = true;
  wanted.top_k = 1;
  const auto seen = fovea::attend_observed(q, k, k, options, wanted).observed;
  return {seen.entropy.mean().item<double>() / std::log(static_cast<double>(kKeys)),
          seen.top_weights.mean().item<double>()};
}

int main(int argc, char** argv) {
  const auto folder = Arguments(argc, argv, "example_softmax_saturation [FOLDER]").folder;
  fovea::explain::LineChart chart{.title = "Entropy of attention over the head size",
                                  .x_label = "head size (log2)",
                                  .y_label = "entropy / ln M",
                                  .series = {{"scale 1 / sqrt(D)", {}}, {"scale 1", {}}},
                                  .y_low = 0.0,
                                  .y_high = 1.0};
  Saturation with{}, without{};
  for (const int64_t size : {4, 8, 16, 32, 64, 128, 256}) {
    with = saturation(size, 1 / std::sqrt(static_cast<double>(size)));
    without = saturation(size, 1.0);
    const double x = std::log2(static_cast<double>(size));
    chart.series[0].points.push_back({x, with.entropy});
    chart.series[1].points.push_back({x, without.entropy});
    std::printf("D %3ld: entropy %.3f with the scale, %.3f without; heaviest key %.3f, %.3f\n",
                static_cast<long>(size), with.entropy, without.entropy, with.heaviest, without.heaviest);
  }
  fovea::io::write_atomically(folder / "softmax_saturation.svg", fovea::explain::line_chart_file(chart));
  return exit_code(with.entropy > 0.8 && without.entropy < 0.1,
                   "without the scale one key takes all, with it none does");
}
