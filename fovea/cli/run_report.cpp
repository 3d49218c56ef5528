#include "fovea/cli/run_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "fovea/cli/console.h"
#include "fovea/cli/model_view.h"
#include "fovea/core/error.h"
#include "fovea/io/json_text.h"
#include "fovea/train/checkpoint.h"
#include "fovea/train/log.h"

namespace fovea::cli {
namespace {

using Lines = std::vector<nlohmann::ordered_json>;

// Batches jump: the mean of what came before, of which each value forgets 5%.
explain::Series smooth(explain::Series series) {
  double sum = 0, weight = 0;
  for (auto& point : series.points) {
    sum = 0.95 * sum + point[1];
    weight = 0.95 * weight + 1;
    point[1] = sum / weight;
  }
  return series;
}

explain::Series read_series(const std::string& name, const Lines& lines, const std::string& key) {
  explain::Series series{.name = name, .points = {}};
  for (const auto& line : lines) {
    const auto value = line.find(key);
    if (value == line.end() || !value->is_number()) continue;
    series.points.push_back({line.at("step").get<double>(), value->get<double>()});
  }
  return series;
}

explain::LineChart step_chart(const std::string& title, const std::string& unit,
                              std::vector<explain::Series> series) {
  explain::LineChart chart;
  chart.title = title;
  chart.x_label = "step";
  chart.y_label = unit;
  for (auto& one : series) {
    if (!one.points.empty()) chart.series.push_back(std::move(one));
  }
  return chart;
}

// Of the whole run, as its last checkpoint says; empty when it is gone.
std::optional<double> training_seconds(const std::filesystem::path& run) {
  const std::string last = train::pointed_checkpoint(run, "last");
  if (last.empty()) return std::nullopt;
  return train::read_checkpoint(run / last).seconds;
}

std::optional<int64_t> epochs_of(const Lines& lines, const std::filesystem::path& file) {
  if (lines.empty() || !lines.back().contains("epoch")) return std::nullopt;
  const auto& epoch = lines.back()["epoch"];
  if (epoch.is_number_integer()) return epoch.get<int64_t>();
  throw data_error(file.string(),
                   fmt::format("'epoch' must be a whole number; found {} in the last line. Remove "
                               "that line.",
                               io::show_json(nlohmann::json(epoch))));
}

}  // namespace

ReportedRun measure_run(const std::filesystem::path& folder, const std::string& data) {
  ReportedRun run{
      .folder = folder, .name = {}, .data = {}, .classifier = tasks::load_classifier(folder), .metrics = {}};
  for (const auto& line : run.classifier.notes) note(line);
  run.name = model_name(run.classifier);
  run.data = tasks::evaluated_data(run.classifier, data);
  note(fmt::format("measuring {} on the test part of {}", run.name, run.data));
  run.metrics = tasks::evaluate_classifier(run.classifier, data, tasks::Split::test);
  return run;
}

explain::ModelReport model_report(const ReportedRun& run) {
  const auto lines = train::read_log(run.folder / "metrics.jsonl");
  explain::ModelReport report;
  report.title = report.name = run.name;
  report.top1 = run.metrics.top1;
  if (train::has_top5(run.metrics.classes)) report.top5 = run.metrics.top5;
  report.loss = run.metrics.loss;
  report.seconds = training_seconds(run.folder);
  int64_t parameters = 0;
  for (const auto& tensor : run.classifier.model->parameters()) parameters += tensor.numel();
  report.parameters = parameters;
  report.epochs = epochs_of(lines, run.folder / "metrics.jsonl");
  report.charts = {step_chart("Loss", "cross entropy",
                              {smooth(read_series("training", lines, "loss")),
                               read_series("validation", lines, "val_loss")}),
                   step_chart("Accuracy", "percent",
                              {smooth(read_series("training", lines, "accuracy")),
                               read_series("validation", lines, "val_top1")})};
  report.confusion = {.classes = run.classifier.class_names, .counts = run.metrics.confusion};
  return report;
}

}  // namespace fovea::cli
