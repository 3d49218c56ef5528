#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "fovea/core/error.h"
#include "fovea/core/nearest.h"
#include "fovea/data/colour_transforms.h"
#include "fovea/data/erasing.h"
#include "fovea/data/geometry_transforms.h"
#include "fovea/data/option_reader.h"
#include "fovea/data/rand_augment.h"
#include "fovea/data/transform.h"
#include "fovea/io/json_text.h"

namespace fovea::data {
namespace {

using nlohmann::json;

TransformPtr make_resize(OptionReader& options) {
  const json& size = options.raw("size");
  if (size.is_number_integer()) return std::make_unique<Resize>(options.integer("size", 0));
  return std::make_unique<Resize>(options.size("size"));
}

TransformPtr make_center_crop(OptionReader& options) {
  return std::make_unique<CenterCrop>(options.size("size"));
}

// A number, [left and right, top and bottom], or [left, top, right, bottom].
void read_padding(OptionReader& options, Padding& padding) {
  const json& value = options.raw("padding");
  if (value.is_null()) return;
  std::vector<int64_t> sides;
  for (const auto& side : value.is_array() ? value : json::array({value})) {
    if (!side.is_number_integer()) options.refuse("padding", "an integer or a list of 2 or 4");
    sides.push_back(side.get<int64_t>());
  }
  if (sides.size() == 1) sides.assign(4, sides[0]);
  if (sides.size() == 2) sides = {sides[0], sides[1], sides[0], sides[1]};
  if (sides.size() != 4) options.refuse("padding", "an integer or a list of 2 or 4");
  padding.left = sides[0];
  padding.top = sides[1];
  padding.right = sides[2];
  padding.bottom = sides[3];
}

TransformPtr make_random_crop(OptionReader& options) {
  RandomCropOptions crop;
  crop.size = options.size("size");
  read_padding(options, crop.padding);
  crop.pad_if_needed = options.boolean("pad_if_needed", crop.pad_if_needed);
  const int64_t fill = options.integer("fill", 0);
  if (fill < 0 || fill > 255) options.refuse("fill", "in [0, 255]");
  crop.padding.fill = static_cast<uint8_t>(fill);
  crop.padding.mode = padding_mode_from_name(options.text("padding_mode", "constant"));
  return std::make_unique<RandomCrop>(crop);
}

template <class Flip>
TransformPtr make_flip(OptionReader& options) {
  return std::make_unique<Flip>(options.number("p", 0.5));
}

TransformPtr make_random_resized_crop(OptionReader& options) {
  RandomResizedCropOptions crop;
  crop.size = options.size("size");
  crop.scale = options.range("scale", crop.scale);
  crop.ratio = options.range("ratio", crop.ratio);
  return std::make_unique<RandomResizedCrop>(crop);
}

// A strength s, which means [center - s, center + s], or the range itself.
Range read_jitter(OptionReader& options, const char* name, double center) {
  const json& value = options.raw(name);
  if (!value.is_number()) return options.range(name, {center, center});
  const double strength = value.get<double>();
  if (strength < 0) options.refuse(name, "not negative");
  return {center == 0 ? -strength : std::max(center - strength, 0.0), center + strength};
}

TransformPtr make_color_jitter(OptionReader& options) {
  ColorJitterOptions jitter;
  jitter.brightness = read_jitter(options, "brightness", 1);
  jitter.contrast = read_jitter(options, "contrast", 1);
  jitter.saturation = read_jitter(options, "saturation", 1);
  jitter.hue = read_jitter(options, "hue", 0);
  return std::make_unique<ColorJitter>(jitter);
}

TransformPtr make_grayscale(OptionReader& options) {
  return std::make_unique<Grayscale>(options.integer("num_output_channels", 1));
}

TransformPtr make_random_grayscale(OptionReader& options) {
  return std::make_unique<RandomGrayscale>(options.number("p", 0.1));
}

TransformPtr make_to_rgb(OptionReader&) { return std::make_unique<ToRgb>(); }

TransformPtr make_rand_augment(OptionReader& options) {
  RandAugmentOptions augment;
  augment.num_ops = options.integer("num_ops", augment.num_ops);
  augment.magnitude = options.integer("magnitude", augment.magnitude);
  augment.num_magnitude_bins = options.integer("num_magnitude_bins", augment.num_magnitude_bins);
  augment.fill = options.numbers("fill", augment.fill);
  return std::make_unique<RandAugment>(augment);
}

TransformPtr make_random_erasing(OptionReader& options) {
  RandomErasingOptions erasing;
  erasing.p = options.number("p", erasing.p);
  erasing.scale = options.range("scale", erasing.scale);
  erasing.ratio = options.range("ratio", erasing.ratio);
  if (options.raw("value") == "random") {
    erasing.value.clear();
  } else {
    erasing.value = options.numbers("value", erasing.value);
  }
  return std::make_unique<RandomErasing>(erasing);
}

struct Row {
  const char* name;
  TransformPtr (*make)(OptionReader& options);
};

constexpr std::array<Row, 12> kRows = {{{"resize", make_resize},
                                        {"center_crop", make_center_crop},
                                        {"random_crop", make_random_crop},
                                        {"random_resized_crop", make_random_resized_crop},
                                        {"random_horizontal_flip", make_flip<RandomHorizontalFlip>},
                                        {"random_vertical_flip", make_flip<RandomVerticalFlip>},
                                        {"color_jitter", make_color_jitter},
                                        {"grayscale", make_grayscale},
                                        {"random_grayscale", make_random_grayscale},
                                        {"to_rgb", make_to_rgb},
                                        {"rand_augment", make_rand_augment},
                                        {"random_erasing", make_random_erasing}}};

// One entry of a list: its name and its options (null for none).
std::pair<std::string, json> split_entry(const json& entry) {
  if (entry.is_string()) return {entry.get<std::string>(), nullptr};
  if (entry.is_object() && entry.size() == 1) return {entry.begin().key(), entry.begin().value()};
  throw usage_error("transform",
                    fmt::format("a transform must be a name or {{name: {{option: value}}}}; found {}.",
                                io::show_json(entry)));
}

const Row& find_row(const std::string& name) {
  for (const auto& row : kRows) {
    if (name == row.name) return row;
  }
  const auto names = transform_names();
  throw usage_error(
      "transform",
      fmt::format("'{}' is no known transform. {}", name,
                  suggest_name(name, names, fmt::format("Known are {}.", fmt::join(names, ", ")))));
}

TransformPtr make_one(const json& entry) {
  const auto [name, given] = split_entry(entry);
  const Row& row = find_row(name);
  OptionReader options(name, given);
  TransformPtr transform = row.make(options);
  options.finish();
  return transform;
}

}  // namespace

Compose::Compose(std::vector<TransformPtr> parts) : parts_(std::move(parts)) {}

at::Tensor Compose::apply(const at::Tensor& image, Random& random) const {
  at::Tensor result = image;
  for (const auto& part : parts_) result = part->apply(result, random);
  return result;
}

int64_t Compose::output_channels(int64_t channels) const {
  for (const auto& part : parts_) channels = part->output_channels(channels);
  return channels;
}

std::optional<PixelSize> Compose::output_size(std::optional<PixelSize> image) const {
  for (const auto& part : parts_) image = part->output_size(image);
  return image;
}

json Compose::describe() const {
  json list = json::array();
  for (const auto& part : parts_) list.push_back(part->describe());
  return list;
}

TransformPtr make_transform(const json& list) {
  if (!list.is_array()) return make_one(list);
  std::vector<TransformPtr> parts;
  for (const auto& entry : list) parts.push_back(make_one(entry));
  return std::make_unique<Compose>(std::move(parts));
}

std::vector<std::string> transform_names() {
  std::vector<std::string> names;
  for (const auto& row : kRows) names.emplace_back(row.name);
  return names;
}

bool has_output_size(const json& list) { return make_transform(list)->output_size(std::nullopt).has_value(); }

TransformPtr evaluation_transform(int64_t size) {
  std::vector<TransformPtr> parts;
  parts.push_back(std::make_unique<Resize>(size));
  parts.push_back(std::make_unique<CenterCrop>(PixelSize{size, size}));
  return std::make_unique<Compose>(std::move(parts));
}

}  // namespace fovea::data
