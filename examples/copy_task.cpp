// Which mechanisms fetch what was said long ago? Somewhere in the first half of a long noise stands a phrase
// of 32 symbols; at the end it is asked for again, symbol by symbol. A small causal transformer learns that
// with each mechanism, from 128 tokens up to the trained length, and is tested at 4 times as many, and so on,
// and timed at the most. Writes copy_task.svg into the folder that is given, or the current one.
//
//   example_copy_task [FOLDER [TRAINED TESTED STEPS [MECHANISM...]]]
//
// TRAINED is 128 or more.
//
// A row is its symbol and the one before it, and has no position: what is left to learn is to find, at any
// distance, the row whose symbol before is the present one.
#include <ATen/ATen.h>
#include <torch/nn/modules/embedding.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "examples/arguments.h"
#include "fovea/core/stopwatch.h"
#include "fovea/explain/charts.h"
#include "fovea/io/file.h"
#include "fovea/nn/block/transformer.h"
#include "fovea/train/optimizer.h"
#include "fovea/train/schedule.h"

namespace {

constexpr int64_t kWidth = 64, kSymbols = 64, kPhrase = 32;
constexpr int64_t kMark = 2 * kSymbols;  // before a phrase; below it as many kinds of noise as symbols
constexpr int64_t kUnknown = kMark + 1, kKinds = kMark + 2, kShortest = 128;

// tokens (B, N), whose last kPhrase are the mark and the phrase (B, kPhrase) but its end; all its symbols
// differ, and the last kPhrase places are to give them.
struct Questions {
  at::Tensor tokens, phrase;
};

Questions questions(int64_t batch, int64_t n) {
  const at::Tensor phrase = at::rand({batch, kSymbols}).argsort().slice(1, 0, kPhrase);
  const at::Tensor marked = at::cat({at::full({batch, 1}, kMark, at::kLong), phrase}, 1);
  const at::Tensor tokens = at::randint(kSymbols, kMark, {batch, n}, at::kLong);
  const at::Tensor start = at::randint(n / 2 - kPhrase, {batch, 1}, at::kLong);
  tokens.scatter_(1, start + at::arange(kPhrase + 1), marked);
  tokens.slice(1, n - kPhrase).copy_(marked.slice(1, 0, kPhrase));
  return {tokens, phrase};
}

struct Copier : torch::nn::Module {
  torch::nn::Embedding symbol{nullptr};
  fovea::nn::TransformerEncoder layers{nullptr};

  explicit Copier(const std::string& attention) {
    fovea::nn::TransformerOptions options;
    options.d_model = kWidth, options.nhead = 2, options.dim_feedforward = kWidth, options.dropout = 0.0;
    options.norm_first = true, options.attention = attention;
    symbol = register_module("symbol", torch::nn::Embedding(kKinds, kWidth / 2));
    layers =
        register_module("layers", fovea::nn::TransformerEncoder(options, /*num_layers=*/2, /*norm=*/true));
  }

  // tokens (B, N) -> (B, kPhrase, kSymbols)
  at::Tensor forward(const at::Tensor& tokens) {
    fovea::nn::AttentionCall call;
    call.causal = fovea::CausalAlignment::top_left;
    // The last rows are what follows the tokens there, and is not known.
    const at::Tensor told = tokens.slice(1, 0, -kPhrase), last = tokens.slice(1, -kPhrase);
    const at::Tensor before = at::cat({told.roll(1, 1), last}, 1),
                     own = at::cat({told, at::full_like(last, kUnknown)}, 1);
    const at::Tensor rows = at::cat({symbol->forward(before), symbol->forward(own)}, 2);
    const at::Tensor answers = layers->forward(rows, call).slice(1, -kPhrase).slice(2, kWidth / 2);
    return at::linear(answers, symbol->weight.slice(0, 0, kSymbols)) / std::sqrt(kWidth / 2);
  }

  void copy_from(const Copier& other) {
    const torch::NoGradGuard no_grad;
    const auto theirs = other.named_parameters();
    for (auto& item : named_parameters()) item.value().copy_(theirs[item.key()]);
  }
};

// What depends on the length: so many buckets that a chunk holds two of them, and its root as stride.
std::string at_length(const std::string& mechanism, int64_t n) {
  if (mechanism == "lsh") return "lsh:chunk=64,buckets=" + std::to_string(n / 32);
  if (mechanism != "sparse_strided") return mechanism;
  return "sparse_strided:stride=" + std::to_string(std::lround(std::sqrt(static_cast<double>(n))));
}

void learn_at(Copier& model, int64_t length, int64_t steps) {
  fovea::train::TrainConfig config;
  config.lr = 1e-2, config.warmup_steps = steps / 10;
  fovea::train::Optimizer optimizer(model, config);
  const fovea::train::Schedule schedule(config, steps, steps);
  for (int64_t step = 0; step < steps; ++step) {
    const Questions asked = questions(8, length);
    optimizer.zero_grad();
    at::cross_entropy_loss(model.forward(asked.tokens).flatten(0, 1), asked.phrase.flatten()).backward();
    fovea::train::clip_gradients(optimizer.parameters(), fovea::train::gradient_norm(optimizer.parameters()),
                                 1.0);
    optimizer.step(schedule.lr(step));
  }
}

// At first what is sought is one of few: at 1,024 tokens from the start it would take many more steps.
std::unique_ptr<Copier> learn(const std::string& mechanism, int64_t trained, int64_t steps) {
  auto model = std::make_unique<Copier>(at_length(mechanism, kShortest));
  learn_at(*model, kShortest, steps);
  for (int64_t length = 2 * kShortest; length <= trained; length *= 2) {
    auto longer = std::make_unique<Copier>(at_length(mechanism, length));
    longer->copy_from(*model);
    learn_at(*longer, length, steps / 3);
    model = std::move(longer);
  }
  return model;
}

// In percent of the symbols.
double accuracy(Copier& model, int64_t length) {
  constexpr int64_t kTests = 4;
  at::manual_seed(2);
  int64_t right = 0;
  for (int64_t i = 0; i < kTests; ++i) {
    const Questions asked = questions(1, length);
    right += (model.forward(asked.tokens).argmax(2) == asked.phrase).sum().item<int64_t>();
  }
  return 100.0 * static_cast<double>(right) / (kTests * kPhrase);
}

struct Lengths {
  int64_t trained, tested;
};

// Percent over the logarithm of the length; prints them, and the time of one sequence of the longest.
fovea::explain::Series measure(const std::string& mechanism, Lengths lengths, int64_t steps) {
  at::manual_seed(1);
  const auto model = learn(mechanism, lengths.trained, steps);
  const torch::NoGradGuard no_grad;
  fovea::explain::Series line{mechanism.substr(0, mechanism.find(':')), {}};
  std::printf("%-36s", mechanism.c_str());
  for (int64_t length = lengths.trained; length <= lengths.tested; length *= 4) {
    Copier longer(at_length(mechanism, length));
    longer.copy_from(*model);
    line.points.push_back({std::log2(length), accuracy(longer, length)});
    std::printf(" %6.1f", line.points.back()[1]);
    if (length * 4 <= lengths.tested) continue;
    const at::Tensor tokens = questions(1, length).tokens;
    const fovea::TimingOptions timing{.warm_up = 0, .min_runs = 3, .min_seconds = 0.0};
    std::printf(" %8.1f ms\n", fovea::time_runs([&] { longer.forward(tokens); }, timing).best_cpu);
  }
  std::fflush(stdout);
  return line;
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments(argc, argv, "example_copy_task [FOLDER [TRAINED TESTED STEPS [MECHANISM...]]]",
                            {kShortest, kShortest, 1}, /*takes_words=*/true);
  Lengths lengths{.trained = 128, .tested = 512};
  int64_t steps = 170;
  std::vector<std::string> mechanisms = {"softmax", "local:window=16"};
  if (!arguments.numbers.empty()) {
    lengths = {arguments.numbers[0], arguments.numbers[1]}, steps = arguments.numbers[2];
    mechanisms = {"softmax",
                  "forgetting",
                  "hybrid:block_size=64,query_block=32,chosen=8",
                  "lsh",
                  "bigbird",
                  "sparse_strided",
                  "longformer:window=64",
                  "local:window=64",
                  "linear",
                  "performer:features=256"};
  }
  if (!arguments.words.empty()) mechanisms = arguments.words;
  std::printf(
      "%% right of %ld symbols at %ld tokens (trained), at 4 times as many, ..., and a forward pass\n",
      static_cast<long>(kPhrase), static_cast<long>(lengths.trained));
  fovea::explain::LineChart chart{
      .title = "A phrase is asked for again, trained at " + std::to_string(lengths.trained) + " tokens",
      .x_label = "log2 of the tokens",
      .y_label = "% right",
      .series = {},
      .y_low = 0.0,
      .y_high = 100.0};
  std::map<std::string, fovea::explain::Series> lines;
  for (const auto& mechanism : mechanisms) {
    const auto line = measure(mechanism, lengths, steps);
    lines[line.name] = line;
    // Of those who never learn it the table tells.
    if (line.points.front()[1] > 20.0) chart.series.push_back(line);
  }
  fovea::io::write_atomically(arguments.folder / "copy_task.svg", fovea::explain::line_chart_file(chart));
  // Those that see everything fetch it from beyond the trained distance, a window of 16 or 64 never.
  const bool fetched = lines.count("softmax") == 0 || lines["softmax"].points.back()[1] > 90.0;
  const bool unseen = lines.count("local") == 0 || lines["local"].points.front()[1] < 15.0;
  return exit_code(fetched && unseen, "softmax copies from the longest texts, a window from none");
}
