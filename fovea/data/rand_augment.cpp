#include "fovea/data/rand_augment.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "fovea/core/error.h"
#include "fovea/core/nearest.h"
#include "fovea/data/affine.h"
#include "fovea/data/colour.h"

namespace fovea::data {
namespace {

using Fill = std::vector<double>;

// How an operation's strength follows from the magnitude: linearly from `first` to `last`, the latter times a
// side of the image where `side` says so; posterize counts bits.
enum class Scale { none, linear, width, height, bits };

struct Operation {
  const char* name;
  Scale scale;
  double first, last;
  bool is_signed;
  at::Tensor (*apply)(const at::Tensor& image, double strength, const Fill& fill);
};

// Shears keep the upper left corner in place, hence torchvision's center [0, 0], which counts from there.
at::Tensor shear(const at::Tensor& image, std::array<double, 2> tangents, const Fill& fill) {
  AffineParameters parameters;
  for (int i = 0; i < 2; ++i) parameters.shear[i] = std::atan(tangents[i]) * 180 / 3.14159265358979323846;
  parameters.center = {-0.5 * static_cast<double>(image.size(2)), -0.5 * static_cast<double>(image.size(1))};
  return affine(image, parameters, fill);
}

at::Tensor translate(const at::Tensor& image, std::array<double, 2> by, const Fill& fill) {
  AffineParameters parameters;
  parameters.translate = {std::trunc(by[0]), std::trunc(by[1])};
  return affine(image, parameters, fill);
}

// torchvision.transforms.autoaugment, RandAugment._augmentation_space and _apply_op.
const std::vector<Operation>& table() {
  static const std::vector<Operation> rows = {
      {"Identity", Scale::none, 0, 0, false, [](const at::Tensor& x, double, const Fill&) { return x; }},
      {"ShearX", Scale::linear, 0, 0.3, true,
       [](const at::Tensor& x, double s, const Fill& fill) {
         return shear(x, {s, 0}, fill);
       }},
      {"ShearY", Scale::linear, 0, 0.3, true,
       [](const at::Tensor& x, double s, const Fill& fill) {
         return shear(x, {0, s}, fill);
       }},
      {"TranslateX", Scale::width, 0, 150.0 / 331.0, true,
       [](const at::Tensor& x, double s, const Fill& fill) {
         return translate(x, {s, 0}, fill);
       }},
      {"TranslateY", Scale::height, 0, 150.0 / 331.0, true,
       [](const at::Tensor& x, double s, const Fill& fill) {
         return translate(x, {0, s}, fill);
       }},
      {"Rotate", Scale::linear, 0, 30, true,
       [](const at::Tensor& x, double s, const Fill& fill) { return rotate(x, s, fill); }},
      {"Brightness", Scale::linear, 0, 0.9, true,
       [](const at::Tensor& x, double s, const Fill&) { return adjust_brightness(x, 1 + s); }},
      {"Color", Scale::linear, 0, 0.9, true,
       [](const at::Tensor& x, double s, const Fill&) { return adjust_saturation(x, 1 + s); }},
      {"Contrast", Scale::linear, 0, 0.9, true,
       [](const at::Tensor& x, double s, const Fill&) { return adjust_contrast(x, 1 + s); }},
      {"Sharpness", Scale::linear, 0, 0.9, true,
       [](const at::Tensor& x, double s, const Fill&) { return adjust_sharpness(x, 1 + s); }},
      {"Posterize", Scale::bits, 8, 4, false,
       [](const at::Tensor& x, double s, const Fill&) { return posterize(x, static_cast<int>(s)); }},
      {"Solarize", Scale::linear, 255, 0, false,
       [](const at::Tensor& x, double s, const Fill&) { return solarize(x, s); }},
      {"AutoContrast", Scale::none, 0, 0, false,
       [](const at::Tensor& x, double, const Fill&) { return autocontrast(x); }},
      {"Equalize", Scale::none, 0, 0, false,
       [](const at::Tensor& x, double, const Fill&) { return equalize(x); }},
  };
  return rows;
}

const Operation& find(const std::string& name) {
  for (const auto& row : table()) {
    if (name == row.name) return row;
  }
  throw usage_error("rand_augment",
                    fmt::format("'{}' is no operation. {}", name,
                                suggest_name(name, RandAugment::operations(), "See torchvision's list.")));
}

// Element `i` of torch.linspace(first, last, count), which works in float32 and from both ends.
double linspace_at(double first, double last, int64_t count, int64_t i) {
  const auto start = static_cast<float>(first), end = static_cast<float>(last);
  if (count == 1) return start;
  const float step = (end - start) / static_cast<float>(count - 1);
  return i < count / 2 ? start + step * static_cast<float>(i)
                       : end - step * static_cast<float>(count - i - 1);
}

double strength_of(const Operation& operation, const RandAugmentOptions& options, PixelSize size) {
  const int64_t bins = options.num_magnitude_bins, magnitude = options.magnitude;
  switch (operation.scale) {
    case Scale::none:
      return 0;
    case Scale::linear:
      return linspace_at(operation.first, operation.last, bins, magnitude);
    case Scale::width:
      return linspace_at(0, operation.last * static_cast<double>(size.width), bins, magnitude);
    case Scale::height:
      return linspace_at(0, operation.last * static_cast<double>(size.height), bins, magnitude);
    case Scale::bits:
      break;
  }
  const auto bits_a_bin =
      static_cast<float>(static_cast<double>(bins - 1) / (operation.first - operation.last));
  return operation.first - std::nearbyint(static_cast<float>(magnitude) / bits_a_bin);
}

}  // namespace

RandAugment::RandAugment(const RandAugmentOptions& options) : options_(options) {
  require_within("rand_augment", "num_ops", static_cast<double>(options.num_ops), {0, 1000});
  require_within("rand_augment", "num_magnitude_bins", static_cast<double>(options.num_magnitude_bins),
                 {2, 1e6});
  require_within("rand_augment", "magnitude", static_cast<double>(options.magnitude),
                 {0, static_cast<double>(options.num_magnitude_bins - 1)});
  require_fill("rand_augment", options.fill, static_cast<int64_t>(options.fill.size()));
}

std::vector<std::string> RandAugment::operations() {
  std::vector<std::string> names;
  for (const auto& row : table()) names.emplace_back(row.name);
  return names;
}

double RandAugment::strength(const std::string& operation, PixelSize size) const {
  return strength_of(find(operation), options_, size);
}

at::Tensor RandAugment::apply(const at::Tensor& image, Random& random) const {
  const PixelSize size{image.size(1), image.size(2)};
  at::Tensor result = image;
  for (int64_t i = 0; i < options_.num_ops; ++i) {
    const Operation& operation = table()[random.below(table().size())];
    const double sign = operation.is_signed && random.below(2) == 1 ? -1 : 1;
    result = operation.apply(result, sign * strength_of(operation, options_, size), options_.fill);
  }
  return result;
}

nlohmann::json RandAugment::describe() const {
  return {{"rand_augment",
           {{"num_ops", options_.num_ops},
            {"magnitude", options_.magnitude},
            {"num_magnitude_bins", options_.num_magnitude_bins},
            {"fill", options_.fill}}}};
}

at::Tensor apply_operation(const at::Tensor& image, const std::string& operation, double strength,
                           const Fill& fill) {
  return find(operation).apply(image, strength, fill);
}

}  // namespace fovea::data
