// What does attention over planes add to a small convolutional network? Of Fashion-MNIST
//   stages   four stages of convolution or attention, in networks of equal size (CoAtNet's question), and
//   details  the four garments that are hardest to tell apart, with and without a block that attends, or with
//            products of channels in the place of their means.
// Writes the first's curves of learning as conv_or_attention.svg into the folder that is given, or the
// current one.
//
//   example_garments [FOLDER [IMAGES EPOCHS SEEDS]]
#include <ATen/ATen.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "examples/arguments.h"
#include "fovea/core/stopwatch.h"
#include "fovea/data/loader.h"
#include "fovea/data/open.h"
#include "fovea/explain/charts.h"
#include "fovea/io/file.h"
#include "fovea/nn/attention/self_attention.h"
#include "fovea/nn/bilinear_pooling.h"
#include "fovea/nn/block/coatnet.h"
#include "fovea/nn/block/unary.h"
#include "fovea/train/optimizer.h"
#include "fovea/train/schedule.h"

namespace {

namespace fs = std::filesystem;
namespace nn = fovea::nn;

// images (B, 1, 28, 28), labels (B)
struct Images {
  at::Tensor images, labels;
};

Images all_of(const std::shared_ptr<const fovea::data::Dataset>& part, int64_t limit) {
  fovea::data::LoaderOptions options;
  options.batch_size = std::min<int64_t>(limit, 1000), options.shuffle = false;
  options.mean = {0.286}, options.std = {0.353};
  fovea::data::Loader loader(part, options);
  std::vector<at::Tensor> images, labels;
  for (int64_t count = 0; count < limit; count += options.batch_size) {
    auto batch = loader.next();
    if (!batch) break;
    images.push_back(batch->images), labels.push_back(batch->labels);
  }
  return {at::cat(images).slice(0, 0, limit), at::cat(labels).slice(0, 0, limit)};
}

// T-shirts, pullovers, coats and shirts, as classes 0 to 3.
Images upper_garments(const Images& all) {
  std::vector<at::Tensor> images, labels;
  for (const int64_t garment : {0, 2, 4, 6}) {
    const at::Tensor chosen = (all.labels == garment).nonzero().flatten();
    images.push_back(all.images.index_select(0, chosen));
    labels.push_back(at::full_like(chosen, garment / 2));
  }
  return {at::cat(images), at::cat(labels)};
}

int64_t parameter_count(const torch::nn::Module& network) {
  int64_t count = 0;
  for (const auto& parameter : network.parameters()) count += parameter.numel();
  return count;
}

// A stem to 14 x 14, two stages there, two at 7 x 7; a stage is c, convolutions, or t, attention.
struct Stages : nn::UnaryModule {
  Stages(const std::string& kinds, int64_t width, int64_t classes) {
    stem = register_module("stem", nn::Conv2d(torch::nn::Conv2dOptions(1, width, 3).stride(2).padding(1)));
    for (size_t i = 0; i < kinds.size(); ++i) {
      const nn::CoAtNetOptions options{.in_channels = width, .out_channels = width, .stride = i == 2 ? 2 : 1};
      const int64_t side = i < 2 ? 14 : 7;
      std::shared_ptr<nn::UnaryModule> stage;
      if (kinds[i] == 'c') {
        stage = nn::MbConv(options).ptr();
      } else {
        nn::RelativeAttentionOptions relative;
        relative.head_dim = width / 2, relative.grid = {.rows = side, .columns = side};
        stage = nn::CoAtNetTransformer(options, relative).ptr();
      }
      stages.push_back(register_module("stage" + std::to_string(i), stage));
    }
    norm = register_module("norm", nn::BatchNorm2d(width));
    fc = register_module("fc", nn::Linear(width, classes));
  }
  at::Tensor forward(const at::Tensor& images) override {
    at::Tensor x = stem->forward(images);
    for (const auto& stage : stages) x = stage->forward(x);
    return fc->forward(norm->forward(x).mean(at::IntArrayRef{2, 3}));
  }
  nn::Conv2d stem{nullptr};
  std::vector<std::shared_ptr<nn::UnaryModule>> stages;
  nn::BatchNorm2d norm{nullptr};
  nn::Linear fc{nullptr};
};

// As wide as comes nearest to that many parameters.
std::shared_ptr<Stages> stages_of(const std::string& kinds, int64_t parameters, int64_t classes) {
  int64_t best = 8;
  double nearest = 1.0;
  for (int64_t width = 8; width <= 96; width += 2) {
    const double off =
        std::abs(std::log(static_cast<double>(parameter_count(Stages(kinds, width, classes))) / parameters));
    if (off < nearest) best = width, nearest = off;
  }
  return std::make_shared<Stages>(kinds, best, classes);
}

// Convolutions to 7 x 7; mechanisms that attend there, whose sum is added; means or products of channels.
struct Details : nn::UnaryModule {
  static constexpr int64_t kWidth = 32, kClasses = 4;

  Details(const std::vector<std::string>& mechanisms, bool products) {
    const auto conv = [&](const char* name, int64_t in) {
      return register_module(name, nn::Conv2d(torch::nn::Conv2dOptions(in, kWidth, 3).stride(2).padding(1)));
    };
    conv1 = conv("conv1", 1), conv2 = conv("conv2", kWidth);
    norm1 = register_module("norm1", nn::BatchNorm2d(kWidth));
    norm2 = register_module("norm2", nn::BatchNorm2d(kWidth));
    for (const auto& mechanism : mechanisms) {
      nn::SelfAttentionOptions options;
      options.dim = kWidth, options.num_heads = 1, options.attention = mechanism;
      blocks.push_back(register_module(mechanism, nn::SelfAttention(options)));
      const torch::NoGradGuard no_grad;
      blocks.back()->proj->weight.zero_(), blocks.back()->proj->bias.zero_();
    }
    if (products) {
      pooling = register_module("pooling", nn::BilinearPooling(kWidth, kWidth, kClasses));
    } else {
      fc = register_module("fc", nn::Linear(kWidth, kClasses));
    }
  }
  at::Tensor forward(const at::Tensor& images) override {
    at::Tensor x = norm1->forward(conv1->forward(images)).relu();
    x = norm2->forward(conv2->forward(x)).relu();
    const at::Tensor rows = x.flatten(2).transpose(1, 2);
    at::Tensor sum = rows;
    for (auto& block : blocks) sum = sum + block->forward(rows);
    x = sum.transpose(1, 2).reshape(x.sizes());
    return pooling ? pooling->forward(x) : fc->forward(x.mean(at::IntArrayRef{2, 3}));
  }
  nn::Conv2d conv1{nullptr}, conv2{nullptr};
  nn::BatchNorm2d norm1{nullptr}, norm2{nullptr};
  std::vector<nn::SelfAttention> blocks;
  nn::BilinearPooling pooling{nullptr};
  nn::Linear fc{nullptr};
};

// In percent.
double accuracy(nn::UnaryModule& network, const Images& set) {
  const torch::NoGradGuard no_grad;
  network.eval();
  int64_t right = 0;
  for (int64_t i = 0; i < set.labels.size(0); i += 500) {
    const at::Tensor found = network.forward(set.images.slice(0, i, i + 500)).argmax(1);
    right += (found == set.labels.slice(0, i, i + 500)).sum().item<int64_t>();
  }
  return 100.0 * static_cast<double>(right) / static_cast<double>(set.labels.size(0));
}

// Accuracy on `validation` after each epoch.
std::vector<std::array<double, 2>> train(nn::UnaryModule& network, const Images& set,
                                         const Images& validation, int64_t epochs) {
  constexpr int64_t kBatch = 64;
  const int64_t count = set.labels.size(0), per_epoch = count / kBatch;
  fovea::train::TrainConfig config;
  config.lr = 2e-3, config.weight_decay = 0.05, config.warmup_steps = per_epoch / 2;
  fovea::train::Optimizer optimizer(network, config);
  const fovea::train::Schedule schedule(config, epochs * per_epoch, per_epoch);
  std::vector<std::array<double, 2>> curve;
  for (int64_t epoch = 0; epoch < epochs; ++epoch) {
    network.train();
    const at::Tensor order = at::randperm(count);
    for (int64_t i = 0; i < per_epoch; ++i) {
      const at::Tensor chosen = order.slice(0, i * kBatch, (i + 1) * kBatch);
      optimizer.zero_grad();
      at::cross_entropy_loss(network.forward(set.images.index_select(0, chosen)),
                             set.labels.index_select(0, chosen))
          .backward();
      fovea::train::clip_gradients(optimizer.parameters(),
                                   fovea::train::gradient_norm(optimizer.parameters()), 1.0);
      optimizer.step(schedule.lr(epoch * per_epoch + i));
    }
    curve.push_back({static_cast<double>(epoch + 1), accuracy(network, validation)});
  }
  return curve;
}

struct Sets {
  Images train, validation, test;
};

struct Settings {
  int64_t images = 960, epochs = 4, seeds = 1, width = 16;
};

// Trains `make` with each seed and prints a row; the curve of the first, and the least accuracy.
template <class Make>
std::pair<fovea::explain::Series, double> contest(const std::string& name, const Sets& sets,
                                                  const Settings& settings, const Make& make) {
  fovea::explain::Series curve{name, {}};
  std::vector<double> found;
  double time = 0.0;
  int64_t parameters = 0;
  for (int64_t seed = 1; seed <= settings.seeds; ++seed) {
    at::manual_seed(seed);
    const std::shared_ptr<nn::UnaryModule> network = make();
    const auto points = train(*network, sets.train, sets.validation, settings.epochs);
    if (seed == 1) curve.points = points;
    found.push_back(accuracy(*network, sets.test));
    const torch::NoGradGuard no_grad;
    const at::Tensor image = sets.test.images.slice(0, 0, 1);
    time = fovea::time_runs([&] { network->forward(image); }, {.min_runs = 20, .min_seconds = 0.0}).best_cpu;
    parameters = parameter_count(*network);
  }
  const at::Tensor all = at::tensor(found);
  const double mean = all.mean().item<double>(), spread = found.size() > 1 ? all.std().item<double>() : 0.0;
  std::printf("%-20s %7ld parameters %6.2f +- %4.2f %% right %7.2f ms an image\n", name.c_str(),
              static_cast<long>(parameters), mean, spread, time);
  std::fflush(stdout);
  return {curve, all.min().item<double>()};
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments(argc, argv, "example_garments [FOLDER [IMAGES EPOCHS SEEDS]]", {64, 1, 1});
  Settings settings;
  const auto& given = arguments.numbers;
  if (!given.empty()) settings = {given[0], given[1], given[2], 24};
  if (!fs::exists("/usr/share/datasets/fashion-mnist")) {
    std::puts("Fashion-MNIST is not installed (Debian's package dataset-fashion-mnist).");
    return 0;
  }
  const auto data = fovea::data::open_data({.name = "fashion_mnist", .limit = settings.images});
  const Sets all{all_of(data.train, settings.images), all_of(data.val, settings.images / 2),
                 all_of(data.test, settings.images)};
  const Sets upper{upper_garments(all.train), upper_garments(all.validation), upper_garments(all.test)};

  std::puts("ten garments, c a stage of convolutions, t of attention:");
  fovea::explain::LineChart chart{.title = "Convolution or attention, at equal size",
                                  .x_label = "epochs",
                                  .y_label = "% of validation images right",
                                  .series = {},
                                  .y_low = std::nullopt,
                                  .y_high = std::nullopt};
  double least = 100.0;
  const int64_t parameters = parameter_count(Stages("cctt", settings.width, 10));
  for (const char* kinds : {"cccc", "cctt", "tttt"}) {
    const auto [curve, worst] =
        contest(kinds, all, settings, [&] { return stages_of(kinds, parameters, 10); });
    chart.series.push_back(curve);
    least = std::min(least, worst);
  }
  fovea::io::write_atomically(arguments.folder / "conv_or_attention.svg",
                              fovea::explain::line_chart_file(chart));

  std::puts("four garments of the upper body:");
  using Names = std::vector<std::string>;
  const std::vector<std::pair<const char*, Names>> blocks = {
      {"convolutions", {}},       {"channel", {"channel"}},
      {"position", {"position"}}, {"both", {"channel", "position"}},
      {"double", {"double"}},
  };
  for (const auto& [name, mechanisms] : blocks) {
    const auto make = [&] { return std::make_shared<Details>(mechanisms, /*products=*/false); };
    least = std::min(least, contest(name, upper, settings, make).second);
  }
  const auto make = [] { return std::make_shared<Details>(Names{}, /*products=*/true); };
  least = std::min(least, contest("bilinear pooling", upper, settings, make).second);
  // All learn, whatever the size of the run.
  return exit_code(least > 35.0, "every network tells more than 35 % of the garments");
}
