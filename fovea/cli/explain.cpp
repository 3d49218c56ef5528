#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "fovea/cli/commands.h"
#include "fovea/cli/console.h"
#include "fovea/cli/device.h"
#include "fovea/cli/each_image.h"
#include "fovea/cli/model_view.h"
#include "fovea/cli/picture_folder.h"
#include "fovea/core/error.h"
#include "fovea/core/nearest.h"
#include "fovea/explain/heatmap.h"
#include "fovea/explain/page.h"
#include "fovea/io/file.h"
#include "fovea/io/image.h"
#include "fovea/io/utf8.h"

namespace fovea::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

// A class by name or by number.
int64_t find_class(const Call& call, const tasks::Classifier& classifier) {
  const auto wanted = call.get("--target");
  if (!wanted) return -1;
  const auto& names = classifier.class_names;
  const auto found = std::find(names.begin(), names.end(), *wanted);
  if (found != names.end()) return found - names.begin();
  if (!wanted->empty() && wanted->find_first_not_of("0123456789") == std::string::npos) {
    const int64_t label = *call.get_int("--target", 0);
    if (label < static_cast<int64_t>(names.size())) return label;
  }
  throw usage_error(
      call.command(),
      fmt::format("--target names no class of this network; found '{}'. {}", *wanted,
                  suggest_name(*wanted, names,
                               fmt::format("Give a class's name, or its number below {}.", names.size()))));
}

// The file that a picture goes to: the number keeps two images of one name apart. File systems take 255
// bytes.
std::string picture_name(size_t number, const std::string& image, const explain::Explanation& found) {
  std::string method = found.method;
  std::replace(method.begin(), method.end(), '+', 'p');
  const std::string stem = fs::path(image).stem().string();
  return fmt::format("{:03}-{}-{}.png", number, io::utf8_prefix(stem, 100), method);
}

struct Work {
  const tasks::Classifier& classifier;
  std::vector<std::string> methods;
  int64_t target;
  PictureFolder output;
  std::vector<explain::GalleryItem> items = {};
  ordered_json results = ordered_json::array();
};

void explain_one(Work& work, const std::string& file) {
  const bool grey = work.classifier.preprocessing.channels == 1;
  const io::Image image = io::read_image(file, {.color = grey ? io::ColorMode::grey : io::ColorMode::rgb});
  const at::Tensor input = tasks::to_input(work.classifier, image);
  const auto view =
      view_image(work.classifier, input, model_name(work.classifier), work.methods, work.target);
  const io::Image seen = seen_image(work.classifier, input);
  ordered_json maps = ordered_json::array();
  for (const auto& found : view.explanations) {
    const fs::path picture =
        work.output.add(picture_name(work.results.size() + 1, file, found),
                        explain::overlay(seen, found.map, {.low = found.low, .high = found.high}));
    ordered_json row = {{"method", found.method},
                        {"picture", picture.string()},
                        {"layer", found.layer},
                        {"target", work.classifier.class_names.at(static_cast<size_t>(found.target))},
                        {"score", found.score}};
    if (found.check) row["self_check"] = {{"rule", found.check->rule}, {"holds", found.check->holds}};
    maps.push_back(row);
  }
  ordered_json predictions = ordered_json::array();
  for (const auto& score : view.view.scores) {
    predictions.push_back({{"class", score.name}, {"probability", score.probability}});
  }
  work.results.push_back({{"file", file}, {"predictions", predictions}, {"maps", maps}});
  work.items.push_back(
      {.name = fs::path(file).filename().string(), .image = seen, .label = "", .views = {view.view}});
}

int run_explain(const Call& call) {
  apply_device_and_threads(call);
  const auto classifier = tasks::load_classifier(*call.get("CHECKPOINT"));
  for (const auto& line : classifier.notes) note(line);
  const auto methods = call.all("--method");
  const int64_t target = find_class(call, classifier);
  for (const auto& method : methods) explain::make_explainer(method);
  Work work{.classifier = classifier,
            .methods = methods,
            .target = target,
            .output = PictureFolder(*call.get("--output"))};
  const int exit_code =
      for_each_image(call, {.work = [&](const std::string& file) { explain_one(work, file); },
                            .failed =
                                [&](const std::string& file, const std::string& line) {
                                  work.results.push_back({{"file", file}, {"error", line}});
                                }});
  const fs::path page = work.output.page();
  io::write_atomically(page,
                       explain::render_page({.title = "What the network looks at",
                                             .subtitle = model_name(classifier) + ", " +
                                                         classifier.weights.parent_path().filename().string(),
                                             .sections = {{"Images", explain::gallery_html(work.items)}},
                                             .footer = "fovea explain"}));
  if (call.has("--json")) {
    print_json(ordered_json{{"page", page.string()}, {"images", work.results}});
  } else {
    print(page.string() + "\n");
  }
  return exit_code;
}

}  // namespace

Command explain_command() {
  return {.name = "explain",
          .help = "show what a network looks at: heat maps as PNG and one page",
          .example = "fovea explain runs/vit coat.jpg --method rollout --output out/maps",
          .arguments = {checkpoint_argument(),
                        images_argument(),
                        {.name = "--method",
                         .value = "NAME[:key=value,...]",
                         .help = "of `fovea list explainers`, repeatable (default: what suits the network)",
                         .repeated = true,
                         .names = [] { return names_of(explain::explainer_entries()); }},
                        {.name = "--target",
                         .value = "CLASS",
                         .help = "name or number (default: the predicted class)"},
                        output_flag("folder of the pictures and index.html", true),
                        threads_flag(),
                        device_flag(),
                        json_flag()},
          .run = run_explain};
}

}  // namespace fovea::cli
