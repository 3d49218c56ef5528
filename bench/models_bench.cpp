// Times whole networks: a forward pass in evaluation mode and the training step of fovea/train.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "fovea/core/error.h"
#include "fovea/core/stopwatch.h"
#include "fovea/models/registry.h"
#include "fovea/train/autocast.h"
#include "fovea/train/train_step.h"

namespace fovea::bench {
namespace {

struct Case {
  std::string model;
  bool train;
  bool bf16;
  int threads;
};

struct Options {
  std::vector<std::string> models = {"fashion_se_resnet", "fashion_vit", "resnet50", "vit_base"};
  std::vector<std::string> modes = {"forward", "train"};
  std::vector<std::string> dtypes = {"fp32", "bf16"};
  std::vector<int> threads = {1, 2};
  int64_t batch_size = 1;
  TimingOptions timing;
  bool json = false;
};

at::Tensor random_images(const models::ImageNetwork& network, int64_t batch_size) {
  std::vector<int64_t> shape = network.inputs().at(0).shape;
  shape.at(0) = batch_size;
  return at::randn(shape);
}

Timing time_forward(models::ImageNetwork& network, const Case& c, const Options& options) {
  network.eval();
  const at::NoGradGuard no_grad;
  const at::Tensor images = random_images(network, options.batch_size);
  return time_runs(
      [&] {
        const train::AutocastScope autocast(c.bf16);
        network.forward(images);
      },
      options.timing);
}

Timing time_training_step(models::ImageNetwork& network, const Case& c, const Options& options) {
  network.train();
  train::TrainConfig config;
  config.amp = c.bf16 ? "bf16" : "none";
  train::TrainStep step(network, config);
  data::Batch batch;
  batch.images = random_images(network, options.batch_size);
  batch.labels = at::zeros({options.batch_size}, at::kLong);
  // Learning rate 0: every run does the same work on the same weights.
  return time_runs([&] { step.run({batch}, 0.0, 1); }, options.timing);
}

Timing time_case(const Case& c, const Options& options) {
  at::set_num_threads(c.threads);
  at::manual_seed(0);
  const auto network = models::make_image_model(c.model, nlohmann::json::object());
  return c.train ? time_training_step(*network, c, options) : time_forward(*network, c, options);
}

std::vector<Case> all_cases(const Options& options) {
  std::vector<Case> cases;
  for (const std::string& model : options.models) {
    for (const std::string& mode : options.modes) {
      for (const std::string& dtype : options.dtypes) {
        for (const int threads : options.threads) {
          cases.push_back({model, mode == "train", dtype == "bf16", threads});
        }
      }
    }
  }
  return cases;
}

nlohmann::json as_json(const Case& c, const Timing& t) {
  return {{"model", c.model},
          {"mode", c.train ? "train" : "forward"},
          {"dtype", c.bf16 ? "bf16" : "fp32"},
          {"threads", c.threads},
          {"best_ms", t.best_wall},
          {"median_ms", t.median_wall},
          {"best_cpu_ms", t.best_cpu},
          {"median_cpu_ms", t.median_cpu},
          {"runs", t.runs}};
}

void print_row(const Case& c, const Timing& t) {
  fmt::print("{:<20} {:<8} {:<5} {:>7} {:>10.2f} {:>10.2f} {:>12.2f} {:>14.2f} {:>6}\n", c.model,
             c.train ? "train" : "forward", c.bf16 ? "bf16" : "fp32", c.threads, t.best_wall, t.median_wall,
             t.best_cpu, t.median_cpu, t.runs);
  std::fflush(stdout);
}

void run(const Options& options) {
  if (!options.json) {
    fmt::print("batches of {}; wall time, and CPU time of the calling thread\n", options.batch_size);
    fmt::print("{:<20} {:<8} {:<5} {:>7} {:>10} {:>10} {:>12} {:>14} {:>6}\n", "model", "mode", "dtype",
               "threads", "best ms", "median ms", "best CPU ms", "median CPU ms", "runs");
  }
  nlohmann::json rows = nlohmann::json::array();
  for (const Case& c : all_cases(options)) {
    const Timing timing = time_case(c, options);
    if (!options.json) print_row(c, timing);
    rows.push_back(as_json(c, timing));
  }
  if (options.json) {
    fmt::print("{}\n", nlohmann::json{{"batch_size", options.batch_size}, {"models", rows}}.dump());
  }
}

}  // namespace
}  // namespace fovea::bench

int main(int argc, char** argv) {
  fovea::bench::Options options;
  CLI::App app("Times networks: a forward pass and a training step. CPU time is the calling thread's.");
  app.add_option("--model", options.models, "Names of models")->delimiter(',')->capture_default_str();
  app.add_option("--mode", options.modes)->delimiter(',')->check(CLI::IsMember({"forward", "train"}));
  app.add_option("--dtype", options.dtypes)->delimiter(',')->check(CLI::IsMember({"fp32", "bf16"}));
  app.add_option("--threads", options.threads)->delimiter(',')->check(CLI::PositiveNumber);
  app.add_option("--batch-size", options.batch_size)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--min-seconds", options.timing.min_seconds, "Time given to each row")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_flag("--json", options.json, "One JSON object instead of the table");
  CLI11_PARSE(app, argc, argv);
  try {
    fovea::bench::run(options);
  } catch (const fovea::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return error.exit_code();
  }
}
