#include "fovea/data/transform.h"

#include <ATen/ops/zeros.h>
#include <zlib.h>

#include <map>
#include <nlohmann/json.hpp>

#include "fovea/data/affine.h"
#include "fovea/data/colour.h"
#include "fovea/data/erasing.h"
#include "fovea/data/geometry_transforms.h"
#include "fovea/data/rand_augment.h"
#include "fovea/data/resample.h"
#include "fovea/io/tensors.h"
#include "tests/data/support.h"
#include "tests/support/errors.h"

namespace fovea::data {
namespace {

using nlohmann::json;

const io::TensorMap& golden() {
  static const io::TensorMap tensors =
      io::load_tensors(std::string(FOVEA_TEST_DATA) + "/data/augment.safetensors");
  return tensors;
}

// The three parts of a golden name, `operation|arguments|image`.
std::array<std::string, 3> parts_of(const std::string& name) {
  const size_t first = name.find('|'), last = name.rfind('|');
  if (first == std::string::npos) return {name, "", ""};
  if (first == last) return {name.substr(0, first), "", name.substr(first + 1)};
  return {name.substr(0, first), name.substr(first + 1, last - first - 1), name.substr(last + 1)};
}

std::vector<double> rest(const json& a, size_t from) {
  std::vector<double> values;
  for (size_t i = from; i < a.size(); ++i) values.push_back(a[i]);
  return values;
}

using Kernel = std::function<at::Tensor(const at::Tensor&, const json&)>;

at::Tensor run_pad(const at::Tensor& x, const json& a) {
  return pad(x, {a[0], a[1], a[2], a[3], a[4].get<uint8_t>(), padding_mode_from_name(a[5])});
}

at::Tensor run_affine(const at::Tensor& x, const json& a) {
  return affine(x, {a[0], {a[1], a[2]}, a[3], {a[4], a[5]}, {0, 0}}, rest(a, 6));
}

const std::map<std::string, Kernel>& kernels() {
  using T = const at::Tensor&;
  static const std::map<std::string, Kernel> all = {
      {"adjust_brightness", [](T x, const json& a) { return adjust_brightness(x, a[0]); }},
      {"adjust_contrast", [](T x, const json& a) { return adjust_contrast(x, a[0]); }},
      {"adjust_saturation", [](T x, const json& a) { return adjust_saturation(x, a[0]); }},
      {"adjust_sharpness", [](T x, const json& a) { return adjust_sharpness(x, a[0]); }},
      {"adjust_hue", [](T x, const json& a) { return adjust_hue(x, a[0]); }},
      {"posterize", [](T x, const json& a) { return posterize(x, a[0]); }},
      {"solarize", [](T x, const json& a) { return solarize(x, a[0]); }},
      {"invert", [](T x, const json&) { return invert(x); }},
      {"autocontrast", [](T x, const json&) { return autocontrast(x); }},
      {"equalize", [](T x, const json&) { return equalize(x); }},
      {"rgb_to_grayscale", [](T x, const json& a) { return rgb_to_grayscale(x, a[0]); }},
      {"horizontal_flip", [](T x, const json&) { return horizontal_flip(x); }},
      {"vertical_flip", [](T x, const json&) { return vertical_flip(x); }},
      {"crop",
       [](T x, const json& a) {
         return crop(x, {a[0], a[1], a[2], a[3]});
       }},
      {"center_crop", [](T x, const json& a) { return center_crop(x, a[0], a[1]); }},
      {"pad", run_pad},
      {"affine", run_affine},
      {"rotate", [](T x, const json& a) { return rotate(x, a[0]); }},
      {"apply_operation", [](T x, const json& a) { return apply_operation(x, a[0], a[1]); }},
  };
  return all;
}

TEST(Kernels, EqualTorchvisionsOnTensors) {
  std::map<std::string, int> seen;
  for (const auto& [name, expected] : golden()) {
    const auto [operation, arguments, image] = parts_of(name);
    const auto kernel = kernels().find(operation);
    if (kernel == kernels().end()) continue;
    ++seen[operation];
    const at::Tensor& input = golden().at(image);
    const auto before = bytes_of(input);
    const at::Tensor out = kernel->second(input, json::parse(arguments));
    EXPECT_EQ(out.sizes(), expected.sizes()) << name;
    EXPECT_EQ(bytes_of(out), bytes_of(expected)) << name;
    EXPECT_EQ(bytes_of(input), before) << name << " wrote into its input";
  }
  EXPECT_EQ(seen.size(), kernels().size());
}

// The same formula as in scripts/parity_tests/augment_golden.py.
at::Tensor formula(int64_t channels, int64_t height, int64_t width) {
  at::Tensor image = new_image(channels, height, width);
  auto* out = image.mutable_data_ptr<uint8_t>();
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t y = 0; y < height; ++y) {
      for (int64_t x = 0; x < width; ++x) {
        *out++ =
            static_cast<uint8_t>(((x * x * 3 + y * 7 * x + y * y + c * 4000) / 32 + (x * y) % 13 * 5) % 256);
      }
    }
  }
  return image;
}

TEST(Resize, EqualsPillowToTheBit) {
  int images = 0;
  for (const auto& [name, rows] : golden()) {
    if (!name.starts_with("crc|")) continue;
    long long c = 0, h = 0, w = 0;
    ASSERT_EQ(std::sscanf(name.c_str(), "crc|%lldx%lldx%lld", &c, &h, &w), 3);
    const at::Tensor image = formula(c, h, w);
    const int64_t* row = rows.const_data_ptr<int64_t>();
    for (int64_t i = 0; i < rows.size(0); ++i, row += 3, ++images) {
      const auto out = bytes_of(resize_bilinear(image, row[0], row[1]));
      ASSERT_EQ(static_cast<int64_t>(out.size()), c * row[0] * row[1]);
      EXPECT_EQ(crc32(0, out.data(), static_cast<uInt>(out.size())), static_cast<uLong>(row[2]))
          << name << " to " << row[0] << " x " << row[1];
    }
  }
  EXPECT_EQ(images, 3 * 81 + 5 + 4);
}

TEST(Resize, ToTheShorterEdge) {
  Random random(0);
  const auto size = [&](int64_t h, int64_t w, int64_t edge) {
    return Resize(edge).apply(noise(1, h, w), random).sizes().vec();
  };
  EXPECT_EQ(size(30, 41, 10), (std::vector<int64_t>{1, 10, 13}));
  EXPECT_EQ(size(41, 30, 60), (std::vector<int64_t>{1, 82, 60}));
  EXPECT_EQ(size(7, 7, 9), (std::vector<int64_t>{1, 9, 9}));
  EXPECT_EQ(evaluation_transform(12)->apply(noise(3, 20, 50), random).sizes().vec(),
            (std::vector<int64_t>{3, 12, 12}));
}

TEST(RandAugment, StrengthsEqualTorchvisions) {
  int checked = 0;
  for (const auto& [name, expected] : golden()) {
    const auto [kind, arguments, image] = parts_of(name);
    if (kind != "strength") continue;
    const json a = json::parse(arguments);
    for (int64_t m = 0; m < expected.size(0); ++m, ++checked) {
      const RandAugment augment({2, m, a[1], {}});
      // torch.linspace on vectors and on single numbers differ by one float32 ulp already.
      EXPECT_FLOAT_EQ(static_cast<float>(augment.strength(a[0], {40, 33})),
                      static_cast<float>(expected.const_data_ptr<double>()[m]))
          << name << " at " << m;
    }
  }
  EXPECT_EQ(checked, 11 * (31 + 11));
}

TEST(RandAugment, DrawsEveryOperationAndKeepsTheShape) {
  const at::Tensor image = adjust_contrast(golden().at("rgb"), 0.5);  // autocontrast must change it
  std::set<std::vector<uint8_t>> results;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    Random random(seed);
    const at::Tensor out = RandAugment({1, 20, 31, {}}).apply(image, random);
    ASSERT_EQ(out.sizes(), image.sizes());
    results.insert(bytes_of(out));
  }
  // Identity, 9 signed operations in two ways each, 4 others.
  EXPECT_EQ(results.size(), 1 + 2 * 9 + 4u);
}

// Every transform with options that make it act, on a grey and a colour image.
TEST(MakeTransform, EveryNameWorksDescribesItselfAndIsAFunctionOfTheRandomNumbers) {
  const std::map<std::string, json> examples = {
      {"resize", {{"size", {9, 11}}}},
      {"center_crop", {{"size", 15}}},
      {"random_crop", {{"size", 20}, {"padding", {4, 2}}, {"padding_mode", "reflect"}}},
      {"random_resized_crop", {{"size", 12}, {"scale", {0.2, 0.9}}}},
      {"random_horizontal_flip", {{"p", 0.5}}},
      {"random_vertical_flip", {{"p", 0.5}}},
      {"color_jitter", {{"brightness", 0.4}, {"contrast", {0.5, 2}}, {"hue", 0.1}}},
      {"grayscale", {{"num_output_channels", 3}}},
      {"random_grayscale", {{"p", 0.5}}},
      {"to_rgb", json::object()},
      {"rand_augment", {{"num_ops", 3}, {"magnitude", 12}, {"fill", 127}}},
      {"random_erasing", {{"p", 0.9}, {"value", "random"}}}};
  for (const auto& name : transform_names()) {
    ASSERT_TRUE(examples.contains(name)) << name;
    const auto transform = make_transform(json{{{name, examples.at(name)}}});
    const auto again = make_transform(transform->describe());
    EXPECT_EQ(again->describe(), transform->describe()) << name;
    for (const int64_t channels : {1, 3}) {
      const at::Tensor image = noise(channels, 21, 23);
      const auto before = bytes_of(image);
      for (uint64_t seed = 0; seed < 20; ++seed) {
        Random a(seed), b(seed);
        const at::Tensor out = transform->apply(image, a);
        EXPECT_EQ(bytes_of(out), bytes_of(again->apply(image, b))) << name;
        EXPECT_EQ(out.size(0), transform->output_channels(channels)) << name;
      }
      EXPECT_EQ(bytes_of(image), before) << name << " wrote into its input";
    }
  }
}

TEST(MakeTransform, RefusesWhatItDoesNotKnowWithTheNearestName) {
  const auto make = [](const char* text) { return [text] { make_transform(json::parse(text)); }; };
  expect_error(ErrorKind::usage, {"'random_horizontl_flip'", "Did you mean 'random_horizontal_flip'?"},
               make(R"(["random_horizontl_flip"])"));
  expect_error(ErrorKind::usage, {"random_crop has no option 'paddin'", "'padding'"},
               make(R"([{"random_crop": {"size": 28, "paddin": 2}}])"));
  expect_error(ErrorKind::usage, {"random_crop: size must be", "nothing"}, make(R"(["random_crop"])"));
  expect_error(ErrorKind::usage, {"center_crop", "size must be in [1, 65536]", "-3"},
               make(R"([{"center_crop": {"size": -3}}])"));
  expect_error(ErrorKind::usage, {"p must be in [0, 1]", "1.5"},
               make(R"([{"random_vertical_flip": {"p": 1.5}}])"));
  expect_error(ErrorKind::usage, {"'refect'", "'reflect'"},
               make(R"([{"random_crop": {"size": 8, "padding_mode": "refect"}}])"));
  expect_error(ErrorKind::usage, {"scale must be [least, most]"},
               make(R"([{"random_resized_crop": {"size": 8, "scale": [0.9, 0.1]}}])"));
  expect_error(ErrorKind::usage, {"hue must be in [-0.5, 0.5]"}, make(R"([{"color_jitter": {"hue": 0.7}}])"));
  expect_error(ErrorKind::usage, {"magnitude must be in [0, 30]"},
               make(R"([{"rand_augment": {"magnitude": 31}}])"));
  expect_error(ErrorKind::usage, {"a transform must be a name or"}, make(R"([3])"));
  expect_error(ErrorKind::usage, {"options must be an object"}, make(R"([{"resize": 4}])"));
  expect_error(ErrorKind::usage, {"p must be a number", "\"x\""},
               make(R"([{"random_erasing": {"p": "x"}}])"));
}

TEST(MakeTransform, KnowsWhichListsMakeOneSize) {
  EXPECT_TRUE(
      has_output_size(json::parse(R"(["random_horizontal_flip", {"random_resized_crop": {"size": 8}}])")));
  EXPECT_TRUE(has_output_size(json::parse(R"({"resize": {"size": [8, 8]}})")));
  EXPECT_FALSE(has_output_size(json::parse(R"([{"resize": {"size": 8}}, "to_rgb"])")));
  EXPECT_FALSE(has_output_size(json::array()));
}

TEST(MakeTransform, SaysTheSizeOfWhatItMakes) {
  for (const char* list :
       {R"(["random_horizontal_flip", {"random_resized_crop": {"size": 8}}, {"resize": {"size": 6}}])",
        R"([{"resize": {"size": 10}}])", R"([{"center_crop": {"size": [4, 9]}}, "grayscale"])",
        R"([{"random_crop": {"size": 12, "padding": 3}}])", R"(["random_vertical_flip"])"}) {
    const auto transform = make_transform(json::parse(list));
    Random random(1);
    const at::Tensor made = transform->apply(at::zeros({3, 20, 30}, at::kByte), random);
    const auto said = transform->output_size(PixelSize{20, 30});
    ASSERT_TRUE(said.has_value()) << list;
    EXPECT_EQ(said->height, made.size(1)) << list;
    EXPECT_EQ(said->width, made.size(2)) << list;
  }
}

TEST(RandomCrop, ReachesEveryPlaceAndPadsWithZeros) {
  const at::Tensor image = noise(1, 6, 6);
  RandomCropOptions options;
  options.size = {6, 6};
  options.padding = {2, 2, 2, 2, 0, PaddingMode::constant};
  RandomCropOptions explicit_border = options;
  explicit_border.pad_if_needed = true;  // takes the path that makes the border
  const RandomCrop quick(options), plain(explicit_border);
  std::set<std::vector<uint8_t>> seen;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    Random a(seed), b(seed);
    const auto out = bytes_of(quick.apply(image, a));
    EXPECT_EQ(out, bytes_of(plain.apply(image, b)));
    seen.insert(out);
  }
  EXPECT_EQ(seen.size(), 25u);
  Random random(0);
  RandomCropOptions large;
  large.size = {7, 5};
  expect_error(ErrorKind::data, {"7 x 5 of 6 x 6", "pad_if_needed"},
               [&] { RandomCrop(large).apply(image, random); });
  large.pad_if_needed = true;
  EXPECT_EQ(RandomCrop(large).apply(image, random).sizes().vec(), (std::vector<int64_t>{1, 7, 5}));
  expect_error(ErrorKind::data, {"mode reflect can add at most 5"}, [&] {
    pad(image, {6, 0, 0, 0, 0, PaddingMode::reflect});
  });
}

TEST(RandomResizedCrop, DrawsAreaAndRatioUniformly) {
  RandomResizedCropOptions options;
  options.size = {8, 8};
  options.scale = {0.2, 0.6};
  const RandomResizedCrop transform(options);
  double area = 0, log_ratio = 0;
  const int n = 4000;
  Random random(3);
  for (int i = 0; i < n; ++i) {
    const Region r = transform.draw(400, 400, random);
    ASSERT_TRUE(r.top >= 0 && r.left >= 0 && r.top + r.height <= 400 && r.left + r.width <= 400);
    const double share = static_cast<double>(r.height * r.width) / 160000,
                 ratio = static_cast<double>(r.width) / r.height;
    ASSERT_TRUE(share > 0.195 && share < 0.605 && ratio > 0.74 && ratio < 1.345) << share << " " << ratio;
    area += share;
    log_ratio += std::log(ratio);
  }
  // Five standard errors of a uniform variable's mean.
  EXPECT_NEAR(area / n, 0.4, 5 * 0.4 / std::sqrt(12.0 * n));
  EXPECT_NEAR(log_ratio / n, 0, 5 * 2 * std::log(4.0 / 3) / std::sqrt(12.0 * n));
  // Nothing fits a 1 x 200 line: its middle at the widest ratio.
  const Region middle = transform.draw(1, 200, random);
  EXPECT_EQ(middle.height, 1);
  EXPECT_EQ(middle.width, 1);
  EXPECT_EQ(middle.left, 99);
}

// torchvision's conventions, which differ: the crop's ratio is width / height, the erased box's height /
// width.
TEST(RandomResizedCrop, RatiosAreWidthToHeightAndThoseOfErasingTheInverse) {
  RandomResizedCropOptions crop_options;
  crop_options.size = {8, 8}, crop_options.scale = {0.1, 0.3}, crop_options.ratio = {2, 2};
  RandomErasingOptions erase_options;
  erase_options.scale = {0.1, 0.3}, erase_options.ratio = {2, 2};
  Random random(4);
  for (int i = 0; i < 20; ++i) {
    const Region cropped = RandomResizedCrop(crop_options).draw(400, 400, random);
    EXPECT_NEAR(cropped.width, 2 * cropped.height, 1.5);  // both sides are rounded
    const Region erased = RandomErasing(erase_options).draw(400, 400, random);
    EXPECT_NEAR(erased.height, 2 * erased.width, 1.5);
  }
}

TEST(RandomErasing, ErasesOneRectangleOfTheDrawnShare) {
  RandomErasingOptions options;
  options.p = 1;
  options.value = {0, 1, 2};
  const RandomErasing transform(options);
  at::Tensor image = new_image(3, 40, 50);
  std::fill_n(image.mutable_data_ptr<uint8_t>(), image.numel(), uint8_t{9});
  double share = 0;
  const int n = 1000;
  for (int i = 0; i < n; ++i) {
    Random a(i), b(i);
    const auto out = bytes_of(transform.apply(image, a));
    happens(1, b);
    const Region r = transform.draw(40, 50, b);
    for (int64_t k = 0; k < 6000; ++k) {
      const int64_t c = k / 2000, y = k / 50 % 40, x = k % 50;
      const bool inside = y >= r.top && y < r.top + r.height && x >= r.left && x < r.left + r.width;
      ASSERT_EQ(out[k], inside ? c : 9);
    }
    share += static_cast<double>(r.height * r.width) / 2000 / n;
  }
  EXPECT_NEAR(share, 0.175, 0.015);  // a bit less than the middle of [0.02, 0.33]: the flattest do not fit
  options.p = 0;
  Random random(0);
  EXPECT_TRUE(RandomErasing(options).apply(image, random).is_same(image));
}

TEST(ColorJitter, StaysWithoutOptionsAndOrdersItsStepsAtRandom) {
  const at::Tensor image = golden().at("rgb");
  Random random(0);
  EXPECT_TRUE(make_transform("color_jitter")->apply(image, random).is_same(image));
  const auto both =
      make_transform(json::parse(R"({"color_jitter": {"brightness": [0.5, 0.5], "contrast": [2, 2]}})"));
  const auto first = bytes_of(adjust_contrast(adjust_brightness(image, 0.5), 2));
  const auto last = bytes_of(adjust_brightness(adjust_contrast(image, 2), 0.5));
  int firsts = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    Random own(seed);
    const auto out = bytes_of(both->apply(image, own));
    ASSERT_TRUE(out == first || out == last);
    firsts += out == first;
  }
  EXPECT_NEAR(firsts, 200, 50);
}

TEST(Flips, HappenWithTheirProbability) {
  const at::Tensor image = noise(1, 4, 4);
  int flips = 0;
  for (uint64_t i = 0; i < 1000; ++i) {
    Random random(1, 0, i);
    flips += !RandomHorizontalFlip(0.3).apply(image, random).is_same(image);
  }
  EXPECT_NEAR(flips, 300, 5 * std::sqrt(1000 * 0.3 * 0.7));
}

TEST(Kernels, RefuseWhatIsNoImage) {
  expect_error(ErrorKind::usage, {"C = 1 or 3", "(2, 3, 4)"}, [] {
    horizontal_flip(noise(1, 6, 4).view({2, 3, 4}));
  });
  expect_error(ErrorKind::usage, {"Float"}, [] { invert(noise(1, 3, 4).to(at::kFloat)); });
  expect_error(ErrorKind::usage, {"no tensor"}, [] { invert(at::Tensor()); });
  expect_error(ErrorKind::usage, {"'ShearZ'", "'ShearX'"},
               [] { apply_operation(noise(1, 3, 4), "ShearZ", 1); });
}

}  // namespace
}  // namespace fovea::data
