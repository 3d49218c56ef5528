// Which heads does a trained vision transformer need? Each is closed in turn, then all of a layer but its
// best one. Writes what each closed head costs, a row a layer, a column a head, as head_ablation.png into the
// folder that is given, or the current one.
//
//   example_head_ablation [FOLDER [PATCH IMAGES EPOCHS]]
#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "examples/arguments.h"
#include "fovea/data/loader.h"
#include "fovea/data/open.h"
#include "fovea/explain/heatmap.h"
#include "fovea/io/image.h"
#include "fovea/models/registry.h"
#include "fovea/nn/attention/head_gate.h"
#include "fovea/train/optimizer.h"

namespace {

namespace fs = std::filesystem;
using fovea::nn::HeadGateAttention;

constexpr int64_t kLayers = 4, kHeads = 4;

// Gates of 20 are open whatever is drawn, and then have no gradient: training is that of softmax.
constexpr double kOpen = 20.0;

struct Settings {
  int64_t patch = 7, images = 1500, epochs = 3;
};

struct Classifier {
  std::shared_ptr<fovea::models::ImageNetwork> network;
  std::vector<HeadGateAttention*> layers;

  explicit Classifier(int64_t patch) {
    network = fovea::models::make_image_model(
        "fashion_vit", {{"patch_size", patch},
                        {"embed_dim", 64},
                        {"depth", kLayers},
                        {"num_heads", kHeads},
                        {"attention", "head_gate:log_alpha=" + std::to_string(kOpen)}});
    for (const auto& module : network->modules()) {
      if (auto* layer = module->as<HeadGateAttention>()) layers.push_back(layer);
    }
  }

  // open (layers, heads): of 0 and 1.
  void gate(const at::Tensor& open) {
    const torch::NoGradGuard no_grad;
    for (int64_t i = 0; i < kLayers; ++i) layers[i]->log_alpha.copy_((open[i] * 2 - 1) * kOpen);
  }
};

using Batches = std::vector<fovea::data::Batch>;

fovea::data::LoaderOptions reading(bool shuffled) {
  fovea::data::LoaderOptions options;
  options.batch_size = shuffled ? 64 : 500;
  options.seed = 1, options.shuffle = shuffled;
  options.mean = {0.286}, options.std = {0.353};
  return options;
}

Batches all_of(const std::shared_ptr<const fovea::data::Dataset>& part, int64_t limit) {
  fovea::data::Loader loader(part, reading(false));
  Batches batches;
  for (int64_t i = 0; i < limit; i += 500) {
    auto batch = loader.next();
    if (!batch) break;
    batches.push_back(std::move(*batch));
  }
  return batches;
}

void train(Classifier& classifier, const std::shared_ptr<const fovea::data::Dataset>& part, int64_t epochs) {
  fovea::data::Loader loader(part, reading(true));
  fovea::train::Optimizer optimizer(*classifier.network, {});
  const int64_t steps = epochs * loader.batches_per_epoch();
  for (int64_t step = 0; step < steps;) {
    while (const auto batch = loader.next()) {
      optimizer.zero_grad();
      at::cross_entropy_loss(classifier.network->forward(batch->images), batch->labels).backward();
      fovea::train::clip_gradients(optimizer.parameters(),
                                   fovea::train::gradient_norm(optimizer.parameters()), 1.0);
      optimizer.step(2e-3 * (1.0 - static_cast<double>(step++) / static_cast<double>(steps)));
    }
  }
  classifier.network->eval();
}

// In percent, with those heads alone.
double accuracy(Classifier& classifier, const Batches& batches, const at::Tensor& open) {
  const torch::NoGradGuard no_grad;
  classifier.gate(open);
  int64_t right = 0, all = 0;
  for (const auto& batch : batches) {
    right += (classifier.network->forward(batch.images).argmax(1) == batch.labels).sum().item<int64_t>();
    all += batch.labels.size(0);
  }
  return 100.0 * static_cast<double>(right) / static_cast<double>(all);
}

at::Tensor every_head() { return at::ones({kLayers, kHeads}); }

at::Tensor without(int64_t layer, int64_t head) {
  at::Tensor open = every_head();
  open[layer][head] = 0;
  return open;
}

at::Tensor alone(int64_t layer, int64_t head) {
  at::Tensor open = every_head();
  open[layer].zero_();
  open[layer][head] = 1;
  return open;
}

// What is lost with those heads, in percentage points, a row a layer, a column a head.
template <class Heads>
at::Tensor lost(Classifier& classifier, const Batches& batches, const Heads& heads) {
  const double whole = accuracy(classifier, batches, every_head());
  at::Tensor map = at::empty({kLayers, kHeads});
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    for (int64_t head = 0; head < kHeads; ++head) {
      map[layer][head] = whole - accuracy(classifier, batches, heads(layer, head));
    }
  }
  return map;
}

void print(const char* title, const at::Tensor& map) {
  std::printf("%s\n", title);
  for (int64_t layer = 0; layer < map.size(0); ++layer) {
    std::printf("layer %ld", static_cast<long>(layer + 1));
    for (int64_t head = 0; head < map.size(1); ++head) std::printf(" %6.2f", map[layer][head].item<double>());
    std::puts("");
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments(argc, argv, "example_head_ablation [FOLDER [PATCH IMAGES EPOCHS]]", {1, 64, 1});
  Settings settings;
  const auto& given = arguments.numbers;
  if (!given.empty()) settings.patch = given[0], settings.images = given[1], settings.epochs = given[2];
  if (!fs::exists("/usr/share/datasets/fashion-mnist")) {
    std::puts("Fashion-MNIST is not installed (Debian's package dataset-fashion-mnist).");
    return 0;
  }
  const auto data = fovea::data::open_data({.name = "fashion_mnist", .limit = settings.images});
  at::manual_seed(1);
  Classifier classifier(settings.patch);
  train(classifier, data.train, settings.epochs);
  // Heads are judged by images of the validation part, and what is kept is tested by others.
  const Batches known = all_of(data.val, settings.images / 3),
                unknown = all_of(data.test, settings.images / 3);

  const at::Tensor map = lost(classifier, known, without);
  print("lost without that head, points of accuracy:", map);
  fovea::io::write_png(arguments.folder / "head_ablation.png", fovea::explain::numbered_map(map, 1));
  const at::Tensor kept = lost(classifier, known, alone);
  print("lost with that head alone in its layer:", kept);

  const double whole = accuracy(classifier, unknown, every_head());
  std::printf("test, all heads: %.2f%%\n", whole);
  at::Tensor best = at::zeros({kLayers, kHeads});
  double least = 100.0;
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    const int64_t head = kept[layer].argmin().item<int64_t>();
    best[layer][head] = 1;
    const double left = accuracy(classifier, unknown, alone(layer, head));
    least = std::min(least, whole - left);
    std::printf("test, head %ld alone in layer %ld: %.2f%%\n", static_cast<long>(head + 1),
                static_cast<long>(layer + 1), left);
  }
  const double none = accuracy(classifier, unknown, at::zeros({kLayers, kHeads}));
  std::printf("test, one head in each layer: %.2f%%, none at all: %.2f%%\n",
              accuracy(classifier, unknown, best), none);
  // Most heads cost little and all of them much; and a layer does with one.
  const double middle = map.median().item<double>();
  return exit_code(middle < 2.0 && least < 4.0 && whole - none > 40.0,
                   "most heads cost little, one is enough for a layer, all together cost much");
}
