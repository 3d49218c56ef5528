#include "fovea/explain/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "fovea/cli/commands.h"
#include "fovea/cli/console.h"
#include "fovea/cli/device.h"
#include "fovea/cli/model_view.h"
#include "fovea/cli/run_report.h"
#include "fovea/core/ceil_div.h"
#include "fovea/core/error.h"
#include "fovea/core/version.h"
#include "fovea/data/open.h"
#include "fovea/io/file.h"
#include "fovea/train/evaluate.h"

namespace fovea::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

std::shared_ptr<const data::Dataset> open_test_images(const ReportedRun& run) {
  data::DataOptions options;
  options.name = run.data;
  options.val_fraction = 0;
  options.channels = run.classifier.preprocessing.channels;
  return data::open_data(options).test;  // There is one: the run was measured on it.
}

// Walks the test set in its own order, so that nobody picks the pictures: the first of each kind, classes in
// turn.
class Choice {
 public:
  Choice(int64_t wanted, size_t classes)
      : each_(std::max<int64_t>(1, wanted / 2)), taken_(2, Counts(classes)) {}

  bool full() const { return count_[0] >= each_ && count_[1] >= each_; }

  /// Whether to show an image of this label; `wrong`: some network misses it.
  bool take(int64_t label, bool wrong) {
    auto& count = count_[wrong ? 1 : 0];
    auto& of_class = taken_[wrong ? 1 : 0][static_cast<size_t>(label)];
    const auto classes = static_cast<int64_t>(taken_[0].size());
    if (count >= each_ || of_class >= ceil_div(each_, classes)) return false;
    ++count;
    ++of_class;
    return true;
  }

 private:
  using Counts = std::vector<int64_t>;
  int64_t each_;
  int64_t count_[2] = {0, 0};
  std::vector<Counts> taken_;
};

bool some_network_misses(const std::vector<ReportedRun>& runs, const data::Sample& sample) {
  return std::any_of(runs.begin(), runs.end(), [&](const ReportedRun& run) {
    const auto chances = train::predict(*run.classifier.model, tasks::to_input(run.classifier, sample.image));
    return chances.argmax().item<int64_t>() != sample.label;
  });
}

explain::GalleryItem gallery_item(const std::vector<ReportedRun>& runs, const data::Dataset& images,
                                  int64_t index) {
  const data::Sample sample = images.get(index);
  const auto& first = runs.front().classifier;
  explain::GalleryItem item{.name = images.describe(index),
                            .image = seen_image(first, tasks::to_input(first, sample.image)),
                            .label = first.class_names.at(static_cast<size_t>(sample.label)),
                            .views = {}};
  for (const auto& run : runs) {
    const auto input = tasks::to_input(run.classifier, sample.image);
    item.views.push_back(view_image(run.classifier, input, run.name).view);
  }
  return item;
}

std::vector<explain::GalleryItem> choose_items(const std::vector<ReportedRun>& runs,
                                               const data::Dataset& images, int64_t wanted) {
  Choice choice(wanted, runs.front().classifier.class_names.size());
  std::vector<explain::GalleryItem> items;
  for (int64_t i = 0; i < images.size() && !choice.full(); ++i) {
    const data::Sample sample = images.get(i);
    if (choice.take(sample.label, some_network_misses(runs, sample))) {
      items.push_back(gallery_item(runs, images, i));
    }
  }
  return items;
}

void require_same_classes(const Call& call, const std::vector<ReportedRun>& runs) {
  for (const auto& run : runs) {
    if (run.classifier.class_names == runs.front().classifier.class_names) continue;
    throw usage_error(call.command(),
                      fmt::format("runs on one page must know the same classes; {} and {} do not. "
                                  "Make a page for each.",
                                  runs.front().folder.string(), run.folder.string()));
  }
}

// Which set the figures are of, and whether the training may have known it.
std::string describe_figures(const std::vector<ReportedRun>& runs) {
  std::vector<std::string> sets;
  bool trained_on = true;
  for (const auto& run : runs) {
    if (std::find(sets.begin(), sets.end(), run.data) == sets.end()) sets.push_back(run.data);
    trained_on = trained_on && run.data == tasks::evaluated_data(run.classifier, "");
  }
  return fmt::format("All figures are of the test part of {}, {}.", fmt::join(sets, " and "),
                     trained_on ? "on which no choice of the training depended" : "given with --data");
}

// What makes the page again.
std::string describe_call(const Call& call, const std::vector<ReportedRun>& runs) {
  std::string words = "fovea report";
  for (const auto& run : runs) words += " " + run.folder.string();
  for (const char* flag : {"--data", "--images", "--output"}) {
    if (const auto value = call.get(flag)) words += fmt::format(" {} {}", flag, *value);
  }
  return words;
}

explain::Report build_report(const Call& call, const std::vector<ReportedRun>& runs, int64_t images) {
  explain::Report report;
  report.title = "Fovea: trained and explained";
  report.subtitle = describe_figures(runs);
  for (const auto& run : runs) report.models.push_back(model_report(run));
  report.gallery_note = fmt::format(
      "The first images of each class, in the order of the test part of {}, that all networks name right or "
      "that some network names wrong. Nobody picked them.",
      runs.front().data);
  note("drawing heat maps");
  report.gallery = choose_items(runs, *open_test_images(runs.front()), images);
  report.footer = fmt::format("Made by fovea {}: {}", kVersion, describe_call(call, runs));
  return report;
}

int run_report(const Call& call) {
  apply_device_and_threads(call);
  const int64_t images = call.get_int("--images", 2).value_or(24);
  const fs::path output = *call.get("--output"), page = output / "index.html";
  std::vector<ReportedRun> runs;
  for (const auto& folder : call.all("RUN_DIR")) runs.push_back(measure_run(folder, call.get("--data", "")));
  require_same_classes(call, runs);
  const std::string html = explain::render_report(build_report(call, runs, images));
  make_folder(output);
  io::write_atomically(page, html);
  ordered_json rows = ordered_json::array();
  for (const auto& run : runs) {
    rows.push_back({{"run", run.folder.string()},
                    {"model", run.name},
                    {"top1", run.metrics.top1},
                    {"top5", run.metrics.top5},
                    {"loss", run.metrics.loss},
                    {"n", run.metrics.n},
                    {"data", run.data},
                    {"split", "test"}});
  }
  if (call.has("--json")) {
    print_json(ordered_json{{"page", page.string()}, {"models", rows}});
  } else {
    print(page.string() + "\n");
  }
  return 0;
}

}  // namespace

Command report_command() {
  return {
      .name = "report",
      .help = "one page about trained networks: curves, confusion, heat maps on test images right and wrong",
      .example = "fovea report runs/se_resnet runs/vit --data fashion_mnist --output out/demo",
      .arguments = {{.name = "RUN_DIR",
                     .help = "run folders that know the same classes",
                     .required = true,
                     .repeated = true,
                     .completes = Completes::folders},
                    data_flag("data set (default: that of the training)"),
                    {.name = "--images",
                     .value = "N",
                     .help = "pictures, half of them wrong ones (default: 24)"},
                    output_flag("folder of index.html", true),
                    threads_flag(),
                    device_flag(),
                    json_flag()},
      .run = run_report};
}

}  // namespace fovea::cli
