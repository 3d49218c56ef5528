// Which position scheme goes on beyond the lengths it was trained at? A small causal transformer learns
// sequences whose token mostly follows from the one four places back, and is tested at up to 8 times the
// length. Writes longer_than_trained.svg into the folder that is given, or the current one.
//
//   example_longer_than_trained [FOLDER [TRAINED STEPS]]
//
// With a length and steps for all schemes, without them for two, in some seconds.
#include <ATen/ATen.h>
#include <torch/nn/modules/embedding.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "examples/arguments.h"
#include "fovea/core/error.h"
#include "fovea/explain/charts.h"
#include "fovea/io/file.h"
#include "fovea/nn/block/transformer.h"
#include "fovea/train/optimizer.h"
#include "fovea/train/schedule.h"

namespace {

constexpr int64_t kTokens = 16, kLag = 4, kScored = 16, kLongest = 8;
constexpr double kFollows = 0.9;

// (B, N + 1): a token is the one kLag before, plus one, in nine of ten cases; else any.
at::Tensor sequences(int64_t batch, int64_t n) {
  const at::Tensor tokens = at::randint(kTokens, {batch, n + 1}, at::kLong);
  const at::Tensor follows = at::rand({batch, n + 1}) < kFollows;
  for (int64_t t = kLag; t <= n; ++t) {
    const at::Tensor next = (tokens.select(1, t - kLag) + 1).remainder(kTokens);
    tokens.select(1, t).copy_(at::where(follows.select(1, t), next, tokens.select(1, t)));
  }
  return tokens;
}

struct Language : torch::nn::Module {
  torch::nn::Embedding embedding{nullptr};
  fovea::nn::TransformerEncoder layers{nullptr};
  fovea::nn::Linear head{nullptr};

  explicit Language(const std::string& position) {
    fovea::nn::TransformerOptions options;
    options.d_model = 64, options.nhead = 4, options.dim_feedforward = 128, options.dropout = 0.0;
    options.norm_first = true, options.position = position;
    embedding = register_module("embedding", torch::nn::Embedding(kTokens, options.d_model));
    layers =
        register_module("layers", fovea::nn::TransformerEncoder(options, /*num_layers=*/2, /*norm=*/true));
    head = register_module("head", fovea::nn::Linear(options.d_model, kTokens));
  }

  at::Tensor forward(const at::Tensor& tokens) {
    fovea::nn::AttentionCall call;
    call.causal = fovea::CausalAlignment::top_left;
    return head->forward(layers->forward(embedding->forward(tokens), call));
  }

  void copy_from(const Language& other) {
    const torch::NoGradGuard no_grad;
    const auto theirs = other.named_parameters();
    for (auto& item : named_parameters()) item.value().copy_(theirs[item.key()]);
  }
};

void learn(Language& model, int64_t length, int64_t steps, double rate) {
  fovea::train::TrainConfig config;
  config.lr = rate, config.warmup_steps = steps / 10;
  fovea::train::Optimizer optimizer(model, config);
  const fovea::train::Schedule schedule(config, steps, steps);
  for (int64_t step = 0; step < steps; ++step) {
    const at::Tensor tokens = sequences(1024 / length + 1, length);
    optimizer.zero_grad();
    const at::Tensor logits = model.forward(tokens.slice(1, 0, length));
    at::cross_entropy_loss(logits.flatten(0, 1), tokens.slice(1, 1).flatten()).backward();
    fovea::train::clip_gradients(optimizer.parameters(), fovea::train::gradient_norm(optimizer.parameters()),
                                 1.0);
    optimizer.step(schedule.lr(step));
  }
}

// In percent of the last tokens of each sequence; not a number where the scheme refuses the length.
double accuracy(Language& model, int64_t length) {
  const torch::NoGradGuard no_grad;
  at::manual_seed(2);
  const at::Tensor tokens = sequences(64, length);
  try {
    const at::Tensor logits = model.forward(tokens.slice(1, 0, length)).slice(1, -kScored);
    const at::Tensor right = logits.argmax(2) == tokens.slice(1, -kScored);
    return 100.0 * right.to(at::kDouble).mean().item<double>();
  } catch (const fovea::Error& refused) {
    std::printf("  %s\n", refused.what());
    return NAN;
  }
}

// A line of the table, which is also one of the chart.
fovea::explain::Series measure(const std::string& name, Language& model, int64_t trained) {
  fovea::explain::Series line{name, {}};
  for (int64_t times = 1; times <= kLongest; times *= 2) {
    line.points.push_back({static_cast<double>(times), accuracy(model, trained * times)});
  }
  std::printf("%-24s", name.c_str());
  for (const auto& point : line.points) std::printf(" %6.1f", point[1]);
  std::printf("\n");
  std::fflush(stdout);
  return line;
}

using Lines = std::map<std::string, fovea::explain::Series>;

// What was trained without scaling runs with it; first as it is, then after a short training at full length.
void scale_rotary(const Language& model, int64_t trained, int64_t steps, Lines& lines) {
  const std::string factor = "factor=" + std::to_string(kLongest),
                    yarn = "rotary:scaling=yarn," + factor + ",original_length=" + std::to_string(trained);
  Language interpolated("rotary:scaling=linear," + factor), ramped(yarn);
  interpolated.copy_from(model), ramped.copy_from(model);
  lines["linear"] = measure("rotary, linear", interpolated, trained);
  lines["yarn"] = measure("rotary, yarn", ramped, trained);
  learn(ramped, kLongest * trained, steps / 10, 1e-3);
  lines["yarn, trained"] = measure("rotary, yarn, trained", ramped, trained);
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments(argc, argv, "example_longer_than_trained [FOLDER [TRAINED STEPS]]", {8, 1});
  const bool all = !arguments.numbers.empty();
  const int64_t trained = all ? arguments.numbers[0] : 32, steps = all ? arguments.numbers[1] : 100;
  std::printf("%% right of the last %ld tokens, at 1, 2, 4 and 8 times %ld tokens; at best %.1f\n",
              static_cast<long>(kScored), static_cast<long>(trained),
              100.0 * (kFollows + (1 - kFollows) / kTokens));
  std::vector<std::string> schemes = {"learned", "rotary"};
  if (all) schemes = {"none", "sinusoidal", "learned", "t5", "alibi", "rotary"};
  Lines lines;
  for (const auto& name : schemes) {
    at::manual_seed(1);
    Language model(name == "learned" ? "learned:max_len=" + std::to_string(trained) : name);
    learn(model, trained, steps, 3e-3);
    lines[name] = measure(name, model, trained);
    if (name == "rotary") scale_rotary(model, trained, steps, lines);
  }
  fovea::explain::LineChart chart{.title = "Trained at " + std::to_string(trained) + " tokens, run on more",
                                  .x_label = "times the length of the training",
                                  .y_label = "% right",
                                  .series = {},
                                  .y_low = 0.0,
                                  .y_high = 100.0};
  for (const char* name : {"t5", "alibi", "rotary", "yarn, trained", "sinusoidal", "none"}) {
    if (lines.count(name) != 0) chart.series.push_back(lines[name]);
  }
  fovea::io::write_atomically(arguments.folder / "longer_than_trained.svg",
                              fovea::explain::line_chart_file(chart));
  const auto first = [&](const char* name) { return lines[name].points.front()[1]; };
  const auto last = [&](const char* name) { return lines[name].points.back()[1]; };
  const bool refused = std::isfinite(first("learned")) && std::isnan(last("learned"));
  const bool falls_off = first("rotary") > 75 && first("rotary") - last("rotary") > 30;
  const bool goes_on = last("yarn, trained") > 75;
  return exit_code(refused && falls_off && goes_on,
                   "learned positions end, rotary ones fall off, YaRN goes on");
}
