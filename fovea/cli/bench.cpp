#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "fovea/cli/bench_approximation.h"
#include "fovea/cli/bench_cases.h"
#include "fovea/cli/commands.h"
#include "fovea/cli/console.h"
#include "fovea/cli/device.h"
#include "fovea/core/isa.h"
#include "fovea/core/stopwatch.h"
#include "fovea/kernels/cpu/product_peak.h"

namespace fovea::cli {
namespace {

using nlohmann::ordered_json;

std::vector<std::string> case_names() {
  std::vector<std::string> names;
  for (const BenchCase& c : bench_cases()) names.push_back(c.name());
  return names;
}

std::vector<BenchCase> chosen_cases(const Call& call) {
  const auto wanted = call.all("--case");
  auto cases = bench_cases();
  std::erase_if(cases, [&](const BenchCase& c) {
    return !wanted.empty() && std::find(wanted.begin(), wanted.end(), c.name()) == wanted.end();
  });
  return cases;
}

// On one thread its CPU time counts, which other programs do not lengthen; wall time on more.
ordered_json time_case(const BenchCase& c, int64_t rounds, const ordered_json& peaks) {
  at::manual_seed(0);
  const TimingOptions how = {.warm_up = 2, .min_runs = static_cast<int>(rounds), .min_seconds = 0.0};
  const Timing timing = time_runs(bench_run(c), how);
  const int threads = at::get_num_threads();
  const double gflops = c.flops() / (threads == 1 ? timing.best_cpu : timing.best_wall) / 1e6;
  const double peak = peaks[c.bf16 ? "bf16" : "fp32"].get<double>() * threads;
  return {{"name", c.name()},
          {"flops", c.flops()},
          {"best_ms", timing.best_wall},
          {"median_ms", timing.median_wall},
          {"best_cpu_ms", timing.best_cpu},
          {"median_cpu_ms", timing.median_cpu},
          {"gflops", gflops},
          {"share_of_peak", gflops / peak},
          {"runs", timing.runs}};
}

int list_cases(const Call& call, const std::vector<BenchCase>& cases) {
  ordered_json rows = ordered_json::array();
  std::string text;
  for (const BenchCase& c : cases) {
    rows.push_back({{"name", c.name()}, {"flops", c.flops()}});
    text += c.name() + "\n";
  }
  if (call.has("--json")) {
    print_json({{"cases", rows}});
  } else {
    print(text);
  }
  return 0;
}

int run_bench_attend(const Call& call) {
  const auto cases = chosen_cases(call);
  if (call.has("--list")) return list_cases(call, cases);
  const int64_t rounds = call.get_int("--rounds", 1).value_or(20);
  apply_device_and_threads(call, 1);
  ordered_json report = {
      {"isa", isa_name(active_isa())},
      {"threads", at::get_num_threads()},
      {"peak_gflops",
       {{"fp32", kernels::product_peak_f32() / 1e9}, {"bf16", kernels::product_peak_bf16() / 1e9}}},
      {"cases", ordered_json::array()}};
  const auto& peaks = report["peak_gflops"];
  if (!call.has("--json")) {
    print(fmt::format("{}, {} threads; tile products of one thread: {:.0f} GFLOP/s fp32, {:.0f} bf16\n",
                      report["isa"].get<std::string>(), report["threads"].get<int>(),
                      peaks["fp32"].get<double>(), peaks["bf16"].get<double>()));
    print(fmt::format("{:<24} {:>10} {:>10} {:>12} {:>10} {:>8}\n", "case", "best ms", "median ms",
                      "best CPU ms", "GFLOP/s", "of peak"));
  }
  for (const BenchCase& c : cases) {
    const ordered_json row = time_case(c, rounds, peaks);
    report["cases"].push_back(row);
    if (call.has("--json")) continue;
    print(fmt::format("{:<24} {:>10.2f} {:>10.2f} {:>12.2f} {:>10.1f} {:>7.0f}%\n", c.name(),
                      row["best_ms"].get<double>(), row["median_ms"].get<double>(),
                      row["best_cpu_ms"].get<double>(), row["gflops"].get<double>(),
                      100 * row["share_of_peak"].get<double>()));
  }
  if (call.has("--json")) print_json(report);
  return 0;
}

Command bench_attend_command() {
  return {
      .name = "attend",
      .help = "time the attention kernel; `scripts/bench attend` has the peers",
      .example = "fovea bench attend --case full_bf16_fwd --case causal_bf16_fwd --json",
      .arguments = {{.name = "--case",
                     .value = "NAME",
                     .help = "only this one (repeatable)",
                     .repeated = true,
                     .names = case_names,
                     .only_names = true},
                    {.name = "--rounds", .value = "N", .help = "runs of each case (default: 20)"},
                    {.name = "--list", .help = "print the cases and stop"},
                    {.name = "--threads", .value = "N", .help = "threads of the computation (default: 1)"},
                    device_flag(),
                    json_flag()},
      .run = run_bench_attend};
}

}  // namespace

Command bench_command() {
  return {.name = "bench",
          .help = "time what this program computes with",
          .example = "fovea bench attend",
          .commands = {bench_attend_command(), bench_approximation_command()}};
}

}  // namespace fovea::cli
