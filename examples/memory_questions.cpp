// A memory network learns to answer questions that take 1, 2 and 3 facts, and shows in which order it read
// them. Writes what it read, a row a sentence, a column a hop, as memory_questions.png into the folder that
// is given, or the current one.
#include <ATen/ATen.h>

#include <cstdio>
#include <string>
#include <vector>

#include "examples/arguments.h"
#include "fovea/data/fact_questions.h"
#include "fovea/explain/heatmap.h"
#include "fovea/explain/scale_bar.h"
#include "fovea/nn/attention/registry.h"
#include "fovea/nn/memory_network.h"
#include "fovea/train/optimizer.h"

namespace {

constexpr int64_t kSentences = 8, kBatch = 64;

// A hop for each fact.
fovea::nn::MemoryNetwork network_for(int64_t facts) {
  fovea::nn::MemoryNetworkOptions options;
  options.words = static_cast<int64_t>(fovea::data::fact_words().size());
  options.hops = facts;
  options.memories = kSentences;
  return fovea::nn::MemoryNetwork(options);
}

// Questions that are never asked again. Without softmax at first; the rate falls to 0 after it.
void learn(fovea::nn::MemoryNetwork& network, int64_t facts, int64_t steps) {
  fovea::train::TrainConfig config;
  config.optimizer = "adam";
  fovea::train::Optimizer optimizer(*network, config);
  const int64_t linear = 3 * steps / 10;
  for (int64_t step = 0; step < steps; ++step) {
    network->linear_start(step < linear);
    const auto asked = fovea::data::make_fact_questions({.facts = facts, .sentences = kSentences, .seed = 1},
                                                        step * kBatch, kBatch);
    optimizer.zero_grad();
    at::cross_entropy_loss(network->forward(asked.story, asked.question).logits, asked.answer).backward();
    fovea::train::clip_gradients(optimizer.parameters(), fovea::train::gradient_norm(optimizer.parameters()),
                                 40.0);
    optimizer.step(0.01 * (1.0 - static_cast<double>(step) / static_cast<double>(steps)));
  }
}

struct Result {
  double wrong = 0, in_order = 0;  // in percent of the questions, and of those answered rightly
};

// Questions of another seed; hop k reads in order when fact k has its largest weight.
Result test(fovea::nn::MemoryNetwork& network, int64_t facts) {
  const torch::NoGradGuard no_grad;
  const auto asked =
      fovea::data::make_fact_questions({.facts = facts, .sentences = kSentences, .seed = 2}, 0, 1000);
  const auto answer = network->forward(asked.story, asked.question);
  const at::Tensor right = answer.logits.argmax(1) == asked.answer;
  at::Tensor ordered = right;
  for (int64_t hop = 0; hop < facts; ++hop) {
    ordered = ordered & (answer.hops[hop].argmax(1) == asked.facts.select(1, hop));
  }
  const auto count = [](const at::Tensor& t) { return static_cast<double>(t.sum().item<int64_t>()); };
  return {100.0 - count(right) / 10.0, 100.0 * count(ordered) / count(right)};
}

// Hops from above, sentences from the oldest on the left; the number of a hop stands where its fact is.
fovea::io::Image picture_of(const at::Tensor& weights, const at::Tensor& facts) {
  constexpr int64_t kCell = 40;
  auto image = fovea::explain::colourise(weights.repeat_interleave(kCell, 0).repeat_interleave(kCell, 1));
  for (int64_t hop = 0; hop < weights.size(0); ++hop) {
    const int64_t fact = facts[hop].item<int64_t>();
    const auto grey = static_cast<uint8_t>(weights[hop][fact].item<float>() > 0.5F ? 0 : 255);
    fovea::explain::draw_text(image, fact * kCell + 15, hop * kCell + 13, std::to_string(hop + 1),
                              {.colour = {grey, grey, grey}, .scale = 2});
  }
  return fovea::explain::with_scale_bar(image, fovea::explain::color_map("inferno"), 0, 1);
}

// One question, what each hop read of each sentence, and the picture of it.
void show(fovea::nn::MemoryNetwork& network, int64_t facts, const std::string& file) {
  const torch::NoGradGuard no_grad;
  const auto asked =
      fovea::data::make_fact_questions({.facts = facts, .sentences = kSentences, .seed = 3}, 0, 1);
  const auto answer = network->forward(asked.story, asked.question);
  std::vector<at::Tensor> hops;
  for (const auto& hop : answer.hops) hops.push_back(hop[0]);
  const at::Tensor weights = at::stack(hops);
  for (int64_t i = 0; i < kSentences; ++i) {
    for (int64_t hop = 0; hop < facts; ++hop) std::printf("%5.2f", weights[hop][i].item<double>());
    std::printf("   %s\n", fovea::data::fact_text(asked.story[0][i]).c_str());
  }
  std::printf("%s? %s\n\n", fovea::data::fact_text(asked.question[0]).c_str(),
              fovea::data::fact_words()[answer.logits[0].argmax().item<int64_t>()].c_str());
  fovea::io::write_png(file, picture_of(weights, asked.facts[0]));
}

// The mechanism by itself: 3 hops over keys and values, of which the 50 newest are kept.
bool reads_a_memory() {
  auto attention = fovea::nn::parse_attention("memory:hops=3,tying=layer_wise,size=50,temporal=true")
                       .build({.heads = 4, .kv_heads = 4, .head_dim = 16, .value_dim = 16, .width = 0});
  fovea::nn::AttentionInput input;
  input.q = at::randn({1, 4, 1, 16});
  input.k = at::randn({1, 4, 200, 16}), input.v = at::randn({1, 4, 200, 16});
  const auto out = attention->forward(input).out;
  return out.sizes().equals({1, 4, 1, 16});
}

// What a network is asked, and gives.
bool answers_a_question() {
  fovea::nn::MemoryNetwork network(fovea::nn::MemoryNetworkOptions{.words = 23, .hops = 2});
  const auto asked =
      fovea::data::make_fact_questions({.facts = 2, .sentences = 10}, /*first=*/0, /*count=*/16);
  const auto answer = network->forward(asked.story, asked.question);
  const auto word = answer.logits.argmax(1);  // (16)
  const auto first = answer.hops[0];          // (16, 10): what the first hop read
  return word.sizes().equals({16}) && first.sizes().equals({16, 10});
}

}  // namespace

// Writes FILE, or memory_questions.png.
int main(int argc, char** argv) {
  const auto folder = Arguments(argc, argv, "example_memory_questions [FOLDER]").folder;
  at::manual_seed(1);
  bool right = reads_a_memory() && answers_a_question();
  const std::vector<int64_t> steps = {500, 800, 1500};
  for (int64_t facts = 1; facts <= 3; ++facts) {
    auto network = network_for(facts);
    learn(network, facts, steps[facts - 1]);
    const Result result = test(network, facts);
    std::printf("%ld facts: %.1f%% wrong; %.1f%% of the others read in order\n", static_cast<long>(facts),
                result.wrong, result.in_order);
    show(network, facts, (folder / "memory_questions.png").string());
    right = right && result.wrong < 5.0 && result.in_order > 90.0;
  }
  return exit_code(right, "less than 5 % wrong, the facts read in order in more than 90 % of the others");
}
