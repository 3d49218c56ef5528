#include "fovea/cli/bench_approximation.h"

#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "fovea/cli/console.h"
#include "fovea/cli/device.h"
#include "fovea/core/error.h"
#include "fovea/explain/attention_operands.h"
#include "fovea/explain/charts.h"
#include "fovea/io/file.h"
#include "fovea/io/image.h"
#include "fovea/nn/attention/approximation.h"
#include "fovea/nn/attention/options.h"
#include "fovea/tasks/classify.h"

namespace fovea::cli {
namespace {

using nlohmann::ordered_json;

// A mechanism whose text has {budget} in it, the numbers to put there, and what its line is called.
struct Line {
  std::string name, text;
  std::vector<int64_t> budgets;
};

const std::vector<Line> kLines = {
    {"performer", "performer:features={budget},seed={seed}", {16, 32, 64, 128, 256, 512, 1024}},
    {"performer, not orthogonal",
     "performer:features={budget},orthogonal=false,seed={seed}",
     {16, 32, 64, 128, 256, 512, 1024}},
    {"nystrom", "nystrom:landmarks={budget}", {8, 16, 32, 64, 128, 256}},
    {"lsh", "lsh:rounds={budget},chunk=16,buckets=32,seed={seed}", {1, 2, 4, 8, 16}},
    {"bigbird", "bigbird:block_size=16,random={budget},seed={seed}", {0, 2, 4, 8, 16, 32}},
    {"window", "softmax:window={budget}", {8, 16, 32, 64, 128, 256, 512}}};
const std::vector<int64_t> kBudgets = {16, 32, 64, 128, 256};

// Named by their mechanisms, and by their whole texts from the second of one mechanism on.
std::vector<Line> lines_of(const Call& call) {
  const auto texts = call.all("--mechanism");
  if (texts.empty()) return kLines;
  std::vector<Line> lines;
  for (const auto& text : texts) {
    if (text.find("{budget}") == std::string::npos) {
      throw usage_error(call.command(), "a mechanism's text must have {budget} where its budget stands", text,
                        "Write for example performer:features={budget}.");
    }
    const std::string name = nn::split_name(text).name;
    const bool taken =
        std::any_of(lines.begin(), lines.end(), [&](const Line& line) { return line.name == name; });
    lines.push_back({taken ? text : name, text, kBudgets});
  }
  return lines;
}

// The call's, as they are. Of the usual ones those that are no more than the positions, or as many as those.
void choose_budgets(std::vector<Line>& lines, const Call& call, int64_t positions) {
  const auto wanted = call.all_ints("--budget", 0);
  for (Line& line : lines) {
    if (!wanted.empty()) {
      line.budgets = wanted;
      continue;
    }
    std::erase_if(line.budgets, [&](int64_t budget) { return budget > positions; });
    if (line.budgets.empty()) line.budgets = {positions};
  }
}

// What is attended, and words for it.
struct Source {
  nn::AttentionInput input;
  std::string name;
};

Source random_source(const Call& call) {
  const int64_t n = call.get_int("--length", 2).value_or(1024);
  at::manual_seed(0);
  nn::AttentionInput input;
  input.q = at::randn({1, 4, n, 64}), input.k = at::randn({1, 4, n, 64}), input.v = at::randn({1, 4, n, 64});
  return {input, fmt::format("random q, k, v: {} positions, 4 heads of 64", n)};
}

Source trained_source(const Call& call, const std::string& image) {
  const tasks::Classifier classifier = tasks::load_classifier(*call.get("--checkpoint"));
  const bool grey = classifier.preprocessing.channels == 1;
  const io::Image pixels = io::read_image(image, {.color = grey ? io::ColorMode::grey : io::ColorMode::rgb});
  const auto operands = explain::record_operands(*classifier.model, tasks::to_input(classifier, pixels));
  const auto count = static_cast<int64_t>(operands.layers.size());
  const int64_t layer = call.get_int("--layer", 0).value_or(count / 2);
  if (layer >= count) {
    throw usage_error(call.command(), fmt::format("the network has {} layers, counted from 0", count),
                      fmt::format("--layer {}", layer), "Choose one of them.");
  }
  const auto& input = operands.inputs[static_cast<size_t>(layer)];
  return {input, fmt::format("trained q, k, v of {}: {} positions, {} heads of {}",
                             operands.layers[static_cast<size_t>(layer)], input.q.size(2), input.q.size(1),
                             input.q.size(3))};
}

Source source_of(const Call& call) {
  const auto image = call.get("--image");
  if (image.has_value() != call.has("--checkpoint")) {
    throw usage_error(call.command(),
                      "--checkpoint and --image go together; found one of them. Give both, or "
                      "neither for random numbers.");
  }
  if (!image && call.has("--layer")) {
    throw usage_error(call.command(),
                      "--layer is of a checkpoint; found none. Give --checkpoint and --image.");
  }
  return image ? trained_source(call, *image) : random_source(call);
}

// What is wrong with any of them is said before the first is run.
void check_lines(const std::vector<Line>& lines, const nn::Approximations& approximations) {
  for (const Line& line : lines) {
    for (const int64_t budget : line.budgets) {
      approximations.check(nn::filled_in(line.text, "budget", budget));
    }
  }
}

ordered_json measure(const Line& line, nn::Approximations& approximations, int64_t seeds) {
  ordered_json points = ordered_json::array();
  for (const int64_t budget : line.budgets) {
    const auto found = approximations.error_of(nn::filled_in(line.text, "budget", budget), seeds);
    points.push_back({{"budget", budget},
                      {"error", found.mean},
                      {"deviation", found.deviation},
                      {"multiply_adds", found.multiply_adds},
                      {"share_of_exact", static_cast<double>(found.multiply_adds) /
                                             static_cast<double>(found.exact_multiply_adds)}});
  }
  return {{"name", line.name}, {"mechanism", line.text}, {"points", points}};
}

std::string chart_of(const ordered_json& report) {
  explain::LineChart chart;
  chart.title = "Error of " + report["source"].get<std::string>();
  chart.x_label = "products, as a share of exact attention's (log2)";
  chart.y_label = "relative error";
  chart.y_low = 0.0;
  for (const auto& line : report["lines"]) {
    explain::Series series{line["name"].get<std::string>(), {}};
    for (const auto& point : line["points"]) {
      series.points.push_back(
          {std::log2(point["share_of_exact"].get<double>()), point["error"].get<double>()});
    }
    std::sort(series.points.begin(), series.points.end());
    chart.series.push_back(series);
  }
  return explain::line_chart_file(chart);
}

std::string table_of(const ordered_json& report) {
  std::string text = report["source"].get<std::string>() + "\n";
  text += fmt::format("{:<58} {:>7} {:>10} {:>10} {:>10}\n", "mechanism", "budget", "error", "deviation",
                      "products");
  for (const auto& line : report["lines"]) {
    for (const auto& point : line["points"]) {
      text +=
          fmt::format("{:<58} {:>7} {:>10.4f} {:>10.4f} {:>9.1f}%\n", line["mechanism"].get<std::string>(),
                      point["budget"].get<int64_t>(), point["error"].get<double>(),
                      point["deviation"].get<double>(), 100.0 * point["share_of_exact"].get<double>());
    }
  }
  return text;
}

int run_bench_approximation(const Call& call) {
  apply_device_and_threads(call);
  std::vector<Line> lines = lines_of(call);
  const int64_t seeds = call.get_int("--seeds", 1).value_or(5);
  const Source source = source_of(call);
  choose_budgets(lines, call, source.input.q.size(2));
  nn::Approximations approximations(source.input);
  check_lines(lines, approximations);
  ordered_json report = {{"source", source.name}, {"seeds", seeds}, {"lines", ordered_json::array()}};
  for (const Line& line : lines) report["lines"].push_back(measure(line, approximations, seeds));
  if (const auto output = call.get("--output")) io::write_atomically(*output, chart_of(report));
  if (call.has("--json")) {
    print_json(report);
  } else {
    print(table_of(report));
  }
  return 0;
}

}  // namespace

Command bench_approximation_command() {
  return {
      .name = "approximation",
      .help =
          "error of approximate mechanisms, ||out - exact|| / ||exact||, over their budgets; exact is "
          "softmax attention, or of lsh its own form without buckets",
      .example =
          "fovea bench approximation --mechanism performer:features={budget},seed={seed} --output error.svg",
      .arguments =
          {{.name = "--mechanism",
            .value = "NAME:key={budget}[,key=value,...]",
            .help = "of `fovea list mechanisms`, repeatable (default: all approximate kinds); {seed} stands "
                    "for the number of a run",
            .repeated = true},
           {.name = "--budget",
            .value = "N",
            .help =
                "what {budget} stands for, repeatable: features of performer, landmarks of nystrom, rounds "
                "of lsh, random blocks of bigbird, keys on either side of a window (default: powers of two "
                "of its own a kind, up to the positions)",
            .repeated = true},
           {.name = "--length", .value = "N", .help = "positions of random q, k, v (default: 1024)"},
           {.name = "--checkpoint",
            .value = "CHECKPOINT",
            .help = "a trained network, whose q, k, v of --image are attended instead",
            .completes = Completes::files},
           {.name = "--image", .value = "FILE", .help = "see --checkpoint", .completes = Completes::files},
           {.name = "--layer", .value = "N", .help = "of the checkpoint, from 0 (default: the middle one)"},
           {.name = "--seeds", .value = "N", .help = "runs of what is random (default: 5)"},
           {.name = "--output",
            .value = "FILE",
            .help = "a chart, an .svg",
            .completes = Completes::files,
            .ending = ".svg"},
           threads_flag(),
           device_flag(),
           json_flag()},
      .run = run_bench_approximation};
}

}  // namespace fovea::cli
