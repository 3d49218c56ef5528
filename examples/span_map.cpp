// How far must a head see? A causal transformer says at every position what stood 1, 8, 32 and 128 places
// before. It learns that while every head sees everything; then a penalty on spans leaves each head the
// distance that it works at. Writes the learned spans, a row a layer, a column a head, as span_map.png into
// the folder that is given, or the current one.
//
//   example_span_map [FOLDER [LENGTH STEPS]]
#include <ATen/ATen.h>
#include <torch/nn/modules/embedding.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "examples/arguments.h"
#include "fovea/core/stopwatch.h"
#include "fovea/explain/heatmap.h"
#include "fovea/io/image.h"
#include "fovea/nn/attention/adaptive_span.h"
#include "fovea/nn/block/transformer.h"
#include "fovea/nn/penalty.h"
#include "fovea/train/optimizer.h"
#include "fovea/train/schedule.h"

namespace {

constexpr int64_t kSymbols = 8, kBatch = 512;  // in tokens

struct Task {
  int64_t length;
  std::vector<int64_t> distances;

  explicit Task(int64_t n) : length(n) {
    for (const int64_t d : {1, 8, 32, 128}) {
      if (d <= n / 2) distances.push_back(d);
    }
  }

  at::Tensor sequences() const {
    return at::randint(kSymbols, {std::max<int64_t>(kBatch / length, 1), length}, at::kLong);
  }
};

struct Network : torch::nn::Module {
  torch::nn::Embedding embedding{nullptr};
  fovea::nn::TransformerEncoder layers{nullptr};
  fovea::nn::Linear head{nullptr};
  std::vector<fovea::nn::AdaptiveSpanAttention*> attentions;  // of each layer

  explicit Network(const Task& task) {
    fovea::nn::TransformerOptions options;
    options.d_model = 64, options.nhead = 4, options.dim_feedforward = 64, options.dropout = 0.0;
    options.norm_first = true, options.position = "rotary";
    // Spans that reach everything cost 0.5 nats, in two layers.
    options.attention = "adaptive_span:init=1,ramp=8,penalty=0.25,span=" + std::to_string(task.length);
    embedding = register_module("embedding", torch::nn::Embedding(kSymbols, options.d_model));
    layers =
        register_module("layers", fovea::nn::TransformerEncoder(options, /*num_layers=*/2, /*norm=*/true));
    head = register_module(
        "head", fovea::nn::Linear(options.d_model, kSymbols * static_cast<int64_t>(task.distances.size())));
    for (const auto& module : layers->modules()) {
      if (auto* own = module->as<fovea::nn::AdaptiveSpanAttention>()) attentions.push_back(own);
    }
  }

  // symbols (B, T) -> (B, T, distances, kSymbols)
  at::Tensor forward(const at::Tensor& symbols) {
    fovea::nn::AttentionCall call;
    call.causal = fovea::CausalAlignment::top_left;
    return head->forward(layers->forward(embedding->forward(symbols), call)).unflatten(2, {-1, kSymbols});
  }

  // (layers, heads)
  at::Tensor span_map() const {
    std::vector<at::Tensor> rows;
    for (const auto* own : attentions) rows.push_back(own->spans().detach().flatten());
    return at::stack(rows);
  }

  // Spans that leave [0, S] are put back, as the authors do after each step.
  void clamp_spans() {
    const torch::NoGradGuard no_grad;
    for (auto* own : attentions) own->current_val.clamp_(0, 1);
  }
};

// Of positions that have something at all distances.
struct Answers {
  at::Tensor loss;   // cross entropy, nats
  at::Tensor right;  // the share of right ones, for each distance
};

Answers ask(Network& network, const Task& task, const at::Tensor& symbols) {
  const int64_t first = task.distances.back(), count = task.length - first;
  std::vector<at::Tensor> before;
  for (const int64_t d : task.distances) before.push_back(symbols.narrow(1, first - d, count));
  const at::Tensor answers = at::stack(before, 2), scores = network.forward(symbols).narrow(1, first, count);
  return {at::cross_entropy_loss(scores.flatten(0, 2), answers.flatten()),
          (scores.detach().argmax(3) == answers).to(at::kDouble).mean(at::IntArrayRef{0, 1})};
}

struct Training {
  int64_t steps;
  double rate;
  bool pays;  // for its spans
};

void train(Network& network, const Task& task, const Training& training) {
  const auto [steps, rate, pays] = training;
  fovea::train::TrainConfig config;
  config.lr = rate, config.warmup_steps = steps / 10;
  fovea::train::Optimizer optimizer(network, config);
  const fovea::train::Schedule schedule(config, steps, steps);
  for (int64_t step = 0; step < steps; ++step) {
    optimizer.zero_grad();
    at::Tensor loss = ask(network, task, task.sequences()).loss;
    if (pays) loss = loss + fovea::nn::take_penalties(network);
    loss.backward();
    fovea::train::clip_gradients(optimizer.parameters(), fovea::train::gradient_norm(optimizer.parameters()),
                                 1.0);
    optimizer.step(schedule.lr(step));
    network.clamp_spans();
  }
}

struct Result {
  double loss, right, spans, step;  // right: at the hardest distance; spans: their sum; a step: milliseconds
};

// Of the same sequences each time, which are not those of the training.
Result result_of(const char* name, Network& network, const Task& task) {
  at::manual_seed(2);
  const at::Tensor symbols = task.sequences();
  const auto step = [&] { network.zero_grad(), ask(network, task, symbols).loss.backward(); };
  const double time = fovea::time_runs(step, {.warm_up = 1, .min_runs = 5, .min_seconds = 0.0}).best_cpu;
  const torch::NoGradGuard no_grad;
  const auto answers = ask(network, task, symbols);
  const Result result{answers.loss.item<double>(), answers.right.min().item<double>(),
                      network.span_map().sum().item<double>(), time};
  std::printf("%-16s loss %.4f, %6.2f%% right at least, sum of spans %5.0f, %6.1f ms a step\n", name,
              result.loss, 100 * result.right, result.spans, result.step);
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments(argc, argv, "example_span_map [FOLDER [LENGTH STEPS]]", {8, 1});
  const bool given = !arguments.numbers.empty();
  const Task task(given ? arguments.numbers[0] : 64);
  const int64_t steps = given ? arguments.numbers[1] : 100;
  at::manual_seed(1);
  Network network(task);
  // Adam moves a parameter by its rate at most: twice so many steps, while it falls, lead a span from S to 0.
  const double rate = 1.0 / static_cast<double>(steps);
  train(network, task, {.steps = steps, .rate = rate, .pays = false});
  const Result without = result_of("without penalty", network, task);
  train(network, task, {.steps = 2 * steps, .rate = rate, .pays = true});
  const Result with = result_of("with penalty", network, task);
  const at::Tensor spans = network.span_map();
  std::printf("spans, a row a layer:\n");
  for (int64_t layer = 0; layer < spans.size(0); ++layer) {
    for (int64_t head = 0; head < spans.size(1); ++head) {
      std::printf(" %6.1f", spans[layer][head].item<double>());
    }
    std::puts("");
  }
  fovea::io::write_png(arguments.folder / "span_map.png", fovea::explain::numbered_map(spans, 0));
  const bool as_good = with.right > 0.99 && with.loss < without.loss + 0.01;
  return exit_code(as_good && with.spans < 0.4 * without.spans,
                   "paid spans are below 0.4 of free ones and do as well");
}
