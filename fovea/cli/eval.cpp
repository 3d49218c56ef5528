#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "fovea/cli/commands.h"
#include "fovea/cli/console.h"
#include "fovea/cli/device.h"
#include "fovea/cli/top_text.h"
#include "fovea/tasks/classify.h"

namespace fovea::cli {
namespace {

std::string metrics_text(const train::ClassificationMetrics& metrics, const std::vector<std::string>& names,
                         const std::string& part) {
  std::string out = fmt::format("{}  loss {:.4f}  on {} images, {}\n",
                                top_text(metrics.top1, metrics.top5, metrics.classes), metrics.loss,
                                metrics.n, one_line(part));
  out += fmt::format("macro precision {:.4f}  recall {:.4f}  F1 {:.4f}  ROC-AUC {:.4f}\n\n",
                     metrics.macro.precision, metrics.macro.recall, metrics.macro.f1, metrics.roc_auc);
  size_t width = 5;
  for (const auto& name : names) width = std::max(width, name.size());
  out += fmt::format("{:<{}}  precision  recall      F1\n", "class", width);
  for (size_t i = 0; i < metrics.per_class.size() && i < names.size(); ++i) {
    const auto& row = metrics.per_class[i];
    out += fmt::format("{:<{}}  {:9.4f}  {:6.4f}  {:6.4f}\n", one_line(names[i]), width, row.precision,
                       row.recall, row.f1);
  }
  return out;
}

int run_eval(const Call& call) {
  apply_device_and_threads(call);
  const auto classifier = tasks::load_classifier(*call.get("CHECKPOINT"));
  for (const auto& line : classifier.notes) note(line);
  const std::string split = call.get("--split", "test");
  const auto which = split == "test"  ? tasks::Split::test
                     : split == "val" ? tasks::Split::val
                                      : tasks::Split::train;
  const std::string data = call.get("--data", "");
  const auto metrics = tasks::evaluate_classifier(classifier, data, which);
  const std::string name = tasks::evaluated_data(classifier, data);
  if (!call.has("--json")) {
    print(metrics_text(metrics, classifier.class_names, fmt::format("the {} part of {}", split, name)));
    return 0;
  }
  auto json = train::to_json(metrics);
  json["data"] = name;
  json["split"] = split;
  json["class_names"] = classifier.class_names;
  json["weights"] = classifier.weights.string();
  print_json(json);
  return 0;
}

}  // namespace

Command eval_command() {
  return {.name = "eval",
          .help = "measure a trained network on a data set",
          .example = "fovea eval runs/vit --data fashion_mnist --split test --json",
          .arguments = {checkpoint_argument(),
                        data_flag("data set (default: that of the training)"),
                        {.name = "--split",
                         .value = "NAME",
                         .help = "test, val or train (default: test)",
                         .names =
                             [] {
                               return std::vector<std::string>{"test", "val", "train"};
                             },
                         .only_names = true},
                        threads_flag(),
                        device_flag(),
                        json_flag()},
          .run = run_eval};
}

}  // namespace fovea::cli
