// Times mechanisms by name: a forward pass, and one with its backward.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "fovea/core/error.h"
#include "fovea/core/stopwatch.h"
#include "fovea/nn/attention/registry.h"
#include "fovea/ops/deformable_attend.h"

namespace fovea::bench {
namespace {

struct MechanismOptions {
  std::vector<std::string> mechanisms = {"linear:causal=true", "performer:causal=true",
                                         "softmax:causal=true"};
  std::vector<std::string> modes = {"forward", "train"};
  int64_t batch = 1, length = 8192, heads = 8, head_dim = 64;
  /// The positions are the places of a square.
  bool grid = false;
  /// Times deformable_attend() too.
  bool deformable = false;
  int threads = 1;
  TimingOptions timing;
};

// A pass of `forward` alone, or one with the gradients by `inputs`.
template <class Forward>
Timing time_pass(const Forward& forward, const std::vector<at::Tensor>& inputs, bool train,
                 const TimingOptions& timing) {
  const at::AutoGradMode with_gradient(train);
  const at::Tensor grad = at::ones_like(forward()).detach();
  return time_runs(
      [&] {
        const at::Tensor out = forward();
        // Not every mechanism reads q, or k.
        if (train) torch::autograd::grad({out}, inputs, {grad}, std::nullopt, false, /*allow_unused=*/true);
      },
      timing);
}

Timing time_mechanism(const std::string& text, bool train, const MechanismOptions& o) {
  at::manual_seed(0);
  nn::AttentionShape shape{o.heads, o.heads, o.head_dim, o.head_dim, o.head_dim * o.heads};
  const auto side = std::llround(std::sqrt(static_cast<double>(o.length)));
  if (o.grid) shape.grid = nn::GridPositions{.rows = side, .columns = side};
  const auto attention = nn::parse_attention(text).build(shape);
  const auto draw = [&] { return at::randn({o.batch, o.heads, o.length, o.head_dim}).requires_grad_(train); };
  nn::AttentionInput input;
  input.q = draw(), input.k = draw(), input.v = draw();
  input.x = at::randn({o.batch, o.length, o.head_dim * o.heads});
  input.grid = shape.grid;
  const std::vector<at::Tensor> inputs = {input.q, input.k, input.v};
  return time_pass([&] { return attention->forward(input).out; }, inputs, train, o.timing);
}

// As many queries as there are places in four maps, 8500; four points in each; heads of 32.
Timing time_deformable(bool train, const MechanismOptions& o) {
  at::manual_seed(0);
  const std::vector<MapShape> maps = {{80, 80}, {40, 40}, {20, 20}, {10, 10}};
  const int64_t places = 8500, levels = 4, points = 4;
  const at::Tensor v = at::randn({1, o.heads, places, 32}).requires_grad_(train),
                   locations = at::rand({1, o.heads, places, levels, points, 2}).requires_grad_(train),
                   weights = at::randn({1, o.heads, places, levels, points}).requires_grad_(train);
  return time_pass([&] { return deformable_attend(v, maps, locations, weights); }, {v, locations, weights},
                   train, o.timing);
}

nlohmann::json row(const std::string& mechanism, const std::string& mode, const Timing& t) {
  return {{"mechanism", mechanism},
          {"mode", mode},
          {"best_cpu_ms", t.best_cpu},
          {"median_cpu_ms", t.median_cpu},
          {"runs", t.runs}};
}

void run(const MechanismOptions& options) {
  at::set_num_threads(options.threads);
  nlohmann::json rows = nlohmann::json::array();
  for (const std::string& mechanism : options.mechanisms) {
    for (const std::string& mode : options.modes) {
      rows.push_back(row(mechanism, mode, time_mechanism(mechanism, mode == "train", options)));
    }
  }
  for (const std::string& mode : options.deformable ? options.modes : std::vector<std::string>()) {
    rows.push_back(row("deformable_attend", mode, time_deformable(mode == "train", options)));
  }
  const nlohmann::json all = {{"batch", options.batch},     {"length", options.length},
                              {"heads", options.heads},     {"head_dim", options.head_dim},
                              {"threads", options.threads}, {"mechanisms", rows}};
  fmt::print("{}\n", all.dump(2));
}

}  // namespace
}  // namespace fovea::bench

int main(int argc, char** argv) {
  fovea::bench::MechanismOptions options;
  CLI::App app("Times mechanisms, as JSON; CPU time is the calling thread's.");
  app.add_option("--attention", options.mechanisms, "NAME[:key=value,...], repeatable")
      ->delimiter(';')
      ->capture_default_str();
  app.add_option("--mode", options.modes)->delimiter(',')->check(CLI::IsMember({"forward", "train"}));
  app.add_option("--batch", options.batch)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--length", options.length)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--heads", options.heads)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--head-dim", options.head_dim)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_flag("--grid", options.grid, "The positions are the places of a square");
  app.add_flag("--deformable", options.deformable, "Times deformable_attend() on four maps too");
  app.add_option("--threads", options.threads)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--min-seconds", options.timing.min_seconds, "Time given to each row")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    fovea::bench::run(options);
  } catch (const fovea::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return error.exit_code();
  }
}
