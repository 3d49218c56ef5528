#include <ATen/ops/isfinite.h>
#include <ATen/ops/topk.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "fovea/cli/commands.h"
#include "fovea/cli/console.h"
#include "fovea/cli/device.h"
#include "fovea/cli/each_image.h"
#include "fovea/core/error.h"
#include "fovea/io/image.h"
#include "fovea/tasks/classify.h"
#include "fovea/train/evaluate.h"

namespace fovea::cli {
namespace {

using nlohmann::ordered_json;

ordered_json predict_one(const tasks::Classifier& classifier, const std::string& file, int64_t top) {
  const auto color = classifier.preprocessing.channels == 1 ? io::ColorMode::grey : io::ColorMode::rgb;
  const at::Tensor input = tasks::to_input(classifier, io::read_image(file, {.color = color}));
  const at::Tensor chances = train::predict(*classifier.model, input).squeeze(0);
  if (!chances.isfinite().all().item<bool>()) {
    throw numeric_error(
        file,
        "the network's scores must be finite; found NaN or infinity. Look for NaN in the weights, or use a "
        "checkpoint from before the numbers went wrong.");
  }
  const auto [values, labels] = chances.topk(std::min(top, chances.size(0)));
  ordered_json rows = ordered_json::array();
  for (int64_t i = 0; i < values.size(0); ++i) {
    const int64_t label = labels[i].item<int64_t>();
    rows.push_back({{"class", classifier.class_names.at(static_cast<size_t>(label))},
                    {"label", label},
                    {"probability", values[i].item<double>()}});
  }
  return {{"file", file}, {"predictions", rows}};
}

std::string image_text(const ordered_json& image) {
  std::string out = one_line(image["file"].get<std::string>()) + "\n";
  for (const auto& row : image["predictions"]) {
    out += fmt::format("  {:7.3f}%  {}\n", 100 * row["probability"].get<double>(),
                       one_line(row["class"].get<std::string>()));
  }
  return out;
}

int run_predict(const Call& call) {
  apply_device_and_threads(call);
  const int64_t top = call.get_int("--top", 1).value_or(5);
  const auto classifier = tasks::load_classifier(*call.get("CHECKPOINT"));
  for (const auto& line : classifier.notes) note(line);
  ordered_json images = ordered_json::array();
  const int exit_code = for_each_image(call, {.work =
                                                  [&](const std::string& file) {
                                                    images.push_back(predict_one(classifier, file, top));
                                                    if (!call.has("--json")) print(image_text(images.back()));
                                                  },
                                              .failed =
                                                  [&](const std::string& file, const std::string& line) {
                                                    images.push_back({{"file", file}, {"error", line}});
                                                  }});
  if (call.has("--json")) print_json(ordered_json{{"images", images}});
  return exit_code;
}

}  // namespace

Command predict_command() {
  return {.name = "predict",
          .help = "name what images show",
          .example = "fovea predict runs/vit shoe.png coat.jpg --top 3",
          .arguments = {checkpoint_argument(),
                        images_argument(),
                        {.name = "--top", .value = "K", .help = "names an image (default: 5)"},
                        threads_flag(),
                        device_flag(),
                        json_flag()},
          .run = run_predict};
}

}  // namespace fovea::cli
