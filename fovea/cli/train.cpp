#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "fovea/cli/classify_settings.h"
#include "fovea/cli/commands.h"
#include "fovea/cli/console.h"
#include "fovea/cli/device.h"
#include "fovea/cli/dry_run.h"
#include "fovea/cli/progress_line.h"
#include "fovea/cli/signals.h"
#include "fovea/cli/top_text.h"
#include "fovea/core/error.h"
#include "fovea/tasks/classify.h"

namespace fovea::cli {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

train::TrainCallbacks show_on(ProgressLine& line) {
  return {.on_step =
              [&line](const train::StepReport& report) {
                line.show({.step = report.step,
                           .total = report.total_steps,
                           .loss = report.loss,
                           .accuracy = report.accuracy,
                           .samples_per_second = report.samples_per_second,
                           .seconds_left = report.seconds_left});
              },
          .on_validation =
              [&line](const train::ValidationReport& report) {
                line.say(fmt::format("epoch {}  step {}  validation {}  loss {:.4f}{}", report.epoch,
                                     report.step, top_text(report.top1, report.top5, report.classes),
                                     report.loss, report.best ? "  (best)" : ""));
              },
          .on_note = [&line](const std::string& text) { line.say(text); }};
}

ordered_json result_json(const train::TrainResult& result, const std::string& output) {
  ordered_json out = {{"output", output},
                      {"step", result.step},
                      {"epochs", result.epochs},
                      {"stopped", result.stopped},
                      {"seconds", result.seconds}};
  out["best_top1"] = result.best_top1 < 0 ? ordered_json(nullptr) : ordered_json(result.best_top1);
  out["best"] = result.best;
  out["last"] = result.last;
  return out;
}

std::string result_text(const train::TrainResult& result, const std::string& output) {
  const std::string use = result.best.empty() ? result.last : result.best;
  std::string text = fmt::format("{} steps in {:.1f} s", result.step, result.seconds);
  if (result.best_top1 >= 0) text += fmt::format(", best validation top-1 {:.2f}%", result.best_top1);
  return text + fmt::format("; weights: {}/{}/model.safetensors\n", output, use);
}

int train_into(const Call& call, const json& settings, const std::string& output) {
  const StopOnSignal signals;
  ProgressLine line;
  tasks::ClassifyRun run;
  run.config = settings;
  run.output = output;
  run.resume = call.has("--resume");
  run.callbacks = show_on(line);
  run.stop = &StopOnSignal::flag();
  const auto result = tasks::train_classify(run);
  if (result.stopped) {
    line.say(fmt::format("stopped by a signal after step {}; {}/{} is saved. Go on with --resume auto.",
                         result.step, output, result.last));
  }
  if (call.has("--json")) {
    print_json(result_json(result, output));
  } else {
    print(result_text(result, output));
  }
  return result.stopped ? StopOnSignal::exit_code() : 0;
}

int run_classify(const Call& call) {
  const json settings = classify_settings(call);
  apply_device_and_threads(call, settings.contains("threads") && settings["threads"].is_number_unsigned()
                                     ? settings["threads"].get<int64_t>()
                                     : 0);
  if (call.has("--print-config")) {
    constexpr auto kReplace = json::error_handler_t::replace;
    print(tasks::resolve_classify(settings).dump(2, ' ', false, kReplace) + "\n");
    return 0;
  }
  if (call.has("--dry-run")) {
    const auto estimate = estimate_training(tasks::resolve_classify(settings));
    if (call.has("--json")) {
      print_json(to_json(estimate));
    } else {
      print(to_text(estimate));
    }
    return 0;
  }
  return train_into(call, settings, output_folder(call));
}

}  // namespace

Command train_command() {
  Command classify = {.name = "classify",
                      .help = "train a network that gives an image one label",
                      .example =
                          "fovea train classify --model resnet20 --data fashion_mnist --set epochs=8 "
                          "--set batch_size=128 --output runs/resnet20",
                      .arguments = classify_flags(),
                      .run = run_classify};
  classify.arguments.push_back(output_flag("the run's folder: checkpoints, configuration, logs", false));
  classify.arguments.push_back({.name = "--resume",
                                .value = "auto",
                                .help = "auto: go on with what the run's folder holds, or begin",
                                .names = [] { return std::vector<std::string>{"auto"}; },
                                .only_names = true});
  classify.arguments.push_back(
      {.name = "--print-config", .help = "print the whole configuration as JSON and stop"});
  classify.arguments.push_back(
      {.name = "--dry-run", .help = "print parameters, multiply-adds and estimated memory and stop"});
  classify.arguments.push_back(json_flag());
  return {.name = "train",
          .help = "train a network",
          .example = "fovea train classify --recipe demo_vit --output runs/vit",
          .commands = {classify}};
}

}  // namespace fovea::cli
