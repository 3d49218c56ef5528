// Outputs and gradients of timm's, torchvision's and the papers' networks, made by
// scripts/parity_tests/make_model_goldens.py with weights by formula.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "formula.h"
#include "fovea/models/registry.h"

namespace fovea::models {
namespace {

using nlohmann::json;

double relative_error(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

at::Tensor from_json(const json& numbers) { return at::tensor(numbers.get<std::vector<double>>()); }

at::Tensor input_of(const json& golden) {
  at::Tensor input = at::empty(golden["input"].get<std::vector<int64_t>>());
  fill_by_formula("input", input);
  return input;
}

void compare_output(ImageNetwork& network, const json& golden) {
  const at::NoGradGuard no_grad;
  network.eval();
  const at::Tensor output = network.forward(input_of(golden)).flatten();
  EXPECT_LT(relative_error(output, from_json(golden["output"]).to(at::kFloat)), 1e-5);
}

void compare_gradients(ImageNetwork& network, const json& golden) {
  network.train();
  const at::Tensor input = input_of(golden).set_requires_grad(true);
  network.forward(input).square().sum().backward();
  const auto parameters = network.named_parameters();
  for (const auto& [name, expected] : golden["gradients"].items()) {
    SCOPED_TRACE(name);
    const at::Tensor grad = name == "input" ? input.grad() : parameters[name].grad();
    const double norm = expected["norm"];
    EXPECT_NEAR(grad.to(at::kDouble).norm().item<double>() / norm, 1.0, 2e-5);
    const at::Tensor first = from_json(expected["first"]).to(at::kFloat);
    const double typical = norm / std::sqrt(static_cast<double>(grad.numel()));
    const double off = (grad.flatten().slice(0, 0, first.numel()) - first).abs().max().item<double>();
    EXPECT_LT(off, 5e-4 * typical);
  }
}

void compare_all(const std::string& prefix) {
  // Threads of such small networks wait for each other longer than they compute on a busy machine.
  at::set_num_threads(1);
  std::ifstream file(std::string(FOVEA_TEST_DATA) + "/models/outputs.json");
  const json all = json::parse(file);
  int compared = 0;
  for (const auto& golden : all["cases"]) {
    const std::string name = golden["model"];
    const bool chosen = prefix.empty()
                            ? name.find("resnet") != 0 && name.find("seresnet") != 0 && name.find("vit") != 0
                            : name.find(prefix) == 0;
    if (!chosen) continue;
    SCOPED_TRACE(name + " " + golden["config"].dump());
    const auto network = make_image_model(name, golden["config"]);
    fill_by_formula(*network, golden.value("last_norm", 1.0));
    compare_output(*network, golden);
    if (golden.contains("gradients")) compare_gradients(*network, golden);
    ++compared;
  }
  EXPECT_GE(compared, 3);
}

TEST(Golden, VisionTransformersEqualTimm) { compare_all("vit"); }
TEST(Golden, ResNetsEqualTorchvisionTimmAndThePaper) { compare_all("resnet"); }
TEST(Golden, SeResNetsEqualTimm) { compare_all("seresnet"); }
TEST(Golden, DemoAndPlainNetworks) { compare_all(""); }

}  // namespace
}  // namespace fovea::models
