// Times mechanisms by name: a forward pass, and one with its backward.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "fovea/core/error.h"
#include "fovea/core/stopwatch.h"
#include "fovea/nn/attention/registry.h"

namespace fovea::bench {
namespace {

struct MechanismOptions {
  std::vector<std::string> mechanisms = {"linear:causal=true", "performer:causal=true",
                                         "softmax:causal=true"};
  std::vector<std::string> modes = {"forward", "train"};
  int64_t length = 8192, heads = 8, head_dim = 64;
  int threads = 1;
  TimingOptions timing;
};

Timing time_mechanism(const std::string& text, bool train, const MechanismOptions& o) {
  at::manual_seed(0);
  const auto attention =
      nn::parse_attention(text).build({o.heads, o.heads, o.head_dim, o.head_dim, o.head_dim * o.heads});
  const auto draw = [&] { return at::randn({1, o.heads, o.length, o.head_dim}).requires_grad_(train); };
  nn::AttentionInput input;
  input.q = draw(), input.k = draw(), input.v = draw();
  input.x = at::randn({1, o.length, o.head_dim * o.heads});
  const at::Tensor grad = at::randn(input.v.sizes());
  const at::AutoGradMode with_gradient(train);
  return time_runs(
      [&] {
        const at::Tensor out = attention->forward(input).out;
        if (train) torch::autograd::grad({out}, {input.q, input.k, input.v}, {grad});
      },
      o.timing);
}

void run(const MechanismOptions& options) {
  at::set_num_threads(options.threads);
  nlohmann::json rows = nlohmann::json::array();
  for (const std::string& mechanism : options.mechanisms) {
    for (const std::string& mode : options.modes) {
      const Timing t = time_mechanism(mechanism, mode == "train", options);
      rows.push_back({{"mechanism", mechanism},
                      {"mode", mode},
                      {"best_cpu_ms", t.best_cpu},
                      {"median_cpu_ms", t.median_cpu},
                      {"runs", t.runs}});
    }
  }
  const nlohmann::json all = {{"length", options.length},
                              {"heads", options.heads},
                              {"head_dim", options.head_dim},
                              {"threads", options.threads},
                              {"mechanisms", rows}};
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
  app.add_option("--length", options.length)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--heads", options.heads)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--head-dim", options.head_dim)->check(CLI::PositiveNumber)->capture_default_str();
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
