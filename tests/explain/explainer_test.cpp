// Every explainer against its formula, the field's implementations, and networks that are understood.
#include "fovea/explain/explainer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "fovea/core/error.h"
#include "fovea/explain/attention_maps.h"
#include "fovea/explain/grad_cam.h"
#include "fovea/explain/gradient_maps.h"
#include "fovea/explain/rollout.h"
#include "fovea/io/tensors.h"
#include "fovea/nn/tap.h"
#include "tests/explain/networks.h"
#include "tests/support/errors.h"

namespace fovea::explain {
namespace {

// ---- against the field

class Golden : public testing::TestWithParam<std::pair<std::string, double>> {};

TEST_P(Golden, EqualsTheFieldsImplementation) {
  const auto& [spec, tolerance] = GetParam();
  const auto golden = io::load_tensors(FOVEA_TEST_DATA "/explain/attributions.safetensors");
  GoldenNet net;
  const at::NoGradGuard no_grad;
  for (auto& item : net.named_parameters()) item.value().copy_(golden.at(item.key()));
  const Explanation found = make_explainer(spec)->explain(net, golden.at("image"), 2);
  const at::Tensor& want = golden.at(found.method);
  ASSERT_EQ(found.values.sizes(), want.sizes());
  EXPECT_LT(relative_error(found.values, want), tolerance);
  EXPECT_GT(want.abs().max().item<double>(), 1e-3);
  EXPECT_EQ(found.map.sizes(), at::IntArrayRef({12, 12}));
  EXPECT_EQ(found.map.max().item<float>() <= 1 && found.map.min().item<float>() >= 0, true);
}

// captum and pytorch-grad-cam: scripts/parity_tests/explain_golden.py.
INSTANTIATE_TEST_SUITE_P(Field, Golden,
                         testing::Values(std::pair("gradcam", 1e-5), std::pair("gradcam++", 1e-3),
                                         std::pair("saliency", 1e-5), std::pair("input_x_gradient", 1e-5),
                                         std::pair("integrated_gradients:steps=50,batch_size=7", 1e-4),
                                         std::pair("occlusion:window=4,stride=2,batch_size=5", 1e-4)));

// ---- exact cases

TEST(LinearNetwork, IsExplainedExactly) {
  at::manual_seed(1);
  LinearNet net(3, 6, 4);
  const auto image = at::randn({1, 3, 6, 6});
  const auto w = net.weights_of(1);
  const auto saliency = make_explainer("saliency")->explain(net, image, 1);
  EXPECT_LT(relative_error(saliency.values, w.abs().amax(0)), 1e-6);
  const auto product = make_explainer("input_x_gradient")->explain(net, image, 1);
  EXPECT_LT(relative_error(product.values, (w * image[0]).sum(0).abs()), 1e-5);
  ExplainerOptions options;
  options.baseline = 0.5;
  options.steps = 3;
  const auto integrated = integrated_gradients(net, image, 1, options);
  EXPECT_LT(relative_error(integrated.attributions[0], w * (image[0] - 0.5)), 1e-5);
  EXPECT_LT(std::abs(integrated.delta), 1e-5);
  const auto occlusion = make_explainer("occlusion:window=1,stride=1,baseline=0.5")->explain(net, image, 1);
  EXPECT_LT(relative_error(occlusion.values, (w * (image[0] - 0.5)).sum(0)), 1e-4);
}

TEST(GradCamTest, IsTheClassActivationMapOfAPooledLinearHead) {
  // Selvaraju et al., section 3.1: for pooling + linear head, a_k = w_k / (h w).
  const auto net = small_resnet();
  at::manual_seed(2);
  const auto image = at::randn({1, 1, 16, 16});
  net->eval();
  at::Tensor last;
  {
    const nn::TapScope scope([&](const torch::nn::Module& m, const at::Tensor&, const at::Tensor& out) {
      if (&m == &net->cam_layer()) last = out.detach();
    });
    net->forward(image);
  }
  for (int64_t target : {0, 1}) {
    at::Tensor head;
    for (const auto& item : net->named_parameters()) {
      if (item.key() == "fc.weight") head = item.value().detach()[target];
    }
    ASSERT_TRUE(head.defined());
    const double area = static_cast<double>(last.size(2) * last.size(3));
    const auto want = (head.view({-1, 1, 1}) / area * last[0]).sum(0).relu();
    const auto found = make_explainer("gradcam")->explain(*net, image, target);
    EXPECT_TRUE(at::allclose(found.values, want, 1e-4, 1e-7));
    EXPECT_TRUE(found.check->holds);
    EXPECT_EQ(found.layer, "layer3.0");
  }
}

TEST(GradCamTest, UsesTheTokenGridOfATransformer) {
  const auto net = small_vit();
  at::manual_seed(2);
  const auto image = at::randn({1, 1, 16, 16});
  net->eval();
  at::Tensor tokens;
  {
    const nn::TapScope scope([&](const torch::nn::Module& m, const at::Tensor&, const at::Tensor& out) {
      if (&m == &net->cam_layer()) tokens = out;
    });
    const at::Tensor logits = net->forward(image);
    tokens.retain_grad();
    logits[0][1].backward();
  }
  const auto found = make_explainer("gradcam")->explain(*net, image, 1);
  ASSERT_EQ(tokens.sizes(), at::IntArrayRef({1, 17, 32}));
  const auto weights = tokens.grad()[0].slice(0, 1).mean(0);
  at::Tensor want = at::zeros({4, 4});
  for (int64_t i = 0; i < 16; ++i) {
    want[i / 4][i % 4] = std::max(0.0, (tokens.detach()[0][i + 1] * weights).sum().item<double>());
  }
  EXPECT_LT(relative_error(found.values, want), 1e-5);
}

TEST(GradCamTest, GradientEqualsFiniteDifferences) {
  // Of the image through the whole network in double precision.
  const auto net = small_resnet();
  net->to(at::kDouble);
  net->eval();
  at::manual_seed(5);
  const auto image = at::randn({1, 1, 16, 16}, at::kDouble);
  const auto gradient = input_gradient(*net, image, 0);
  const at::NoGradGuard no_grad;
  for (int64_t i : {0, 77, 130, 255}) {
    at::Tensor up = image.clone(), down = image.clone();
    up.view(-1)[i] += 1e-5;
    down.view(-1)[i] -= 1e-5;
    const double slope = (net->forward(up)[0][0] - net->forward(down)[0][0]).item<double>() / 2e-5;
    EXPECT_NEAR(gradient.view(-1)[i].item<double>(), slope, 1e-6 * std::max(1.0, std::abs(slope)));
  }
}

TEST(GradCamTest, ListsLayersOfOneKind) {
  const auto image = at::zeros({1, 1, 16, 16});
  EXPECT_EQ(cam_layers(*small_resnet(), image),
            (std::vector<std::string>{"layer1.0", "layer2.0", "layer3.0"}));
  EXPECT_EQ(cam_layers(*small_vit(), image),
            (std::vector<std::string>{"blocks.0.norm1", "blocks.1.norm1", "blocks.2.norm1"}));
}

// Squares that do not fit a whole number of times, on an image of unequal sides.
TEST(OcclusionTest, EqualsItsFormulaAtTheEdges) {
  const auto net = small_resnet();
  net->eval();
  at::manual_seed(6);
  const auto image = at::randn({1, 1, 10, 13});
  const at::NoGradGuard no_grad;
  const double whole = net->forward(image)[0][1].item<double>();
  at::Tensor fall = at::zeros({10, 13}, at::kDouble), count = at::zeros_like(fall);
  for (const int64_t y : {0, 3, 6}) {       // 4 rows each: 0-3, 3-6, 6-9
    for (const int64_t x : {0, 3, 6, 9}) {  // 9-12 ends at the edge
      at::Tensor covered = image.clone();
      covered.narrow(2, y, 4).narrow(3, x, 4).fill_(0.25);
      const double lost = whole - net->forward(covered)[0][1].item<double>();
      fall.narrow(0, y, 4).narrow(1, x, 4).add_(lost);
      count.narrow(0, y, 4).narrow(1, x, 4).add_(1);
    }
  }
  const auto found = make_explainer("occlusion:window=4,stride=3,baseline=0.25")->explain(*net, image, 1);
  EXPECT_LT(relative_error(found.values, fall / count), 1e-4);
  // Steps of 4 leave 2 rows and 1 column: the last squares move back to the edge.
  const auto moved = make_explainer("occlusion:window=4,stride=4")->explain(*net, image, 1);
  EXPECT_TRUE(moved.values.isfinite().all().item<bool>());
  at::Tensor last = image.clone();
  last.narrow(2, 6, 4).narrow(3, 9, 4).fill_(0);
  EXPECT_NEAR(moved.values[9][12].item<double>(), whole - net->forward(last)[0][1].item<double>(), 1e-4);
}

// ---- self-checks, state, errors

TEST(IntegratedGradientsTest, ReportsCompleteness) {
  const auto net = small_resnet();
  at::manual_seed(9);
  const auto image = at::randn({1, 1, 16, 16});
  const auto fine = make_explainer("integrated_gradients:steps=200")->explain(*net, image, 0);
  EXPECT_TRUE(fine.check->holds) << fine.check->error;
  // One step at the middle of the path is too few, and the result says so.
  GoldenNet tanh_net;
  const at::NoGradGuard no_grad;
  for (auto& p : tanh_net.parameters()) p.mul_(6);
  const auto rgb = at::randn({1, 3, 12, 12}) * 3;
  const auto coarse = make_explainer("integrated_gradients:steps=1")->explain(tanh_net, rgb, 0);
  EXPECT_FALSE(coarse.check->holds) << coarse.check->error;
}

TEST(ExplainerTest, LeavesTheNetworkAsItWas) {
  const auto net = small_resnet();
  net->train();
  net->children()[1]->eval();
  const auto image = at::randn({1, 1, 16, 16});
  std::vector<at::Tensor> before;
  for (const auto& b : net->buffers()) before.push_back(b.clone());
  for (const auto& entry : explainer_entries()) {
    if (entry.name == "rollout" || entry.name == "attention") continue;
    make_explainer(entry.name)->explain(*net, image, 1);
  }
  EXPECT_TRUE(net->is_training());
  EXPECT_FALSE(net->children()[1]->is_training());
  EXPECT_TRUE(net->children()[0]->is_training());
  for (const auto& p : net->parameters()) EXPECT_FALSE(p.grad().defined());
  for (size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(at::equal(net->buffers()[i], before[i]));
}

TEST(ExplainerTest, WorksWithFrozenParametersAndWithoutGradients) {
  const auto net = small_resnet();
  const auto image = at::randn({1, 1, 16, 16});
  const auto free = make_explainer("gradcam")->explain(*net, image, 1);
  for (auto& p : net->parameters()) p.set_requires_grad(false);
  const at::NoGradGuard no_grad;
  const auto frozen = make_explainer("gradcam")->explain(*net, image, 1);
  EXPECT_TRUE(at::equal(free.values, frozen.values));
}

TEST(ExplainerTest, PredictsTheTargetUnlessTold) {
  const auto net = small_resnet();
  net->eval();
  const auto image = at::randn({1, 1, 16, 16});
  const auto logits = net->forward(image)[0];
  const auto found = make_explainer("saliency")->explain(*net, image);
  EXPECT_EQ(found.target, logits.argmax().item<int64_t>());
  EXPECT_NEAR(found.score, logits.max().item<double>(), 1e-5);
}

TEST(ExplainerTest, ErrorsNameTheRemedy) {
  const auto resnet = small_resnet();
  const auto vit = small_vit();
  const auto image = at::randn({1, 1, 16, 16});
  const auto usage = [](auto&& call) { return message_of(ErrorKind::usage, call); };
  EXPECT_NE(usage([&] { make_explainer("rolout"); }).find("'rollout'"), std::string::npos);
  EXPECT_NE(usage([&] { make_explainer("gradcam:layr=x"); }).find("'layer'"), std::string::npos);
  for (const char* form : {"gradcam:layer=x,", "gradcam:layer", "gradcam:,layer=x"}) {
    EXPECT_NE(usage([&] { make_explainer(form); }).find("options are written key=value"), std::string::npos);
  }
  EXPECT_NE(usage([&] { make_explainer("gradcam:layer=x,layer=y"); }).find("'layer' again"),
            std::string::npos);
  EXPECT_NE(usage([&] { make_explainer("saliency:steps=3"); }).find("takes none"), std::string::npos);
  EXPECT_NE(usage([&] { make_explainer("occlusion:window=2x"); }).find("'2x'"), std::string::npos);
  EXPECT_NE(usage([&] { make_explainer("rollout:head_fusion=mea"); }).find("'mean'"), std::string::npos);
  usage([&] { make_explainer("integrated_gradients:steps=0"); });
  usage([&] { make_explainer("integrated_gradients:steps=100001"); });
  usage([&] { make_explainer("occlusion:baseline=1e39"); });
  usage([&] { make_explainer("occlusion:baseline=nan"); });
  usage([&] { make_explainer("rollout:discard_ratio=1"); });
  EXPECT_NE(usage([&] { make_explainer("rollout")->explain(*resnet, image); }).find("gradcam"),
            std::string::npos);
  LinearNet flat(1, 16, 2);
  EXPECT_NE(usage([&] { make_explainer("gradcam")->explain(flat, image); }).find("no places"),
            std::string::npos);
  EXPECT_NE(
      usage([&] { make_explainer("gradcam:layer=layer3.1")->explain(*resnet, image); }).find("'layer3.0'"),
      std::string::npos);
  usage([&] { make_explainer("attention:head=2")->explain(*vit, image); });
  usage([&] { make_explainer("attention:layer=3")->explain(*vit, image); });
  usage([&] { make_explainer("occlusion:window=40")->explain(*vit, image); });
  usage([&] { make_explainer("saliency")->explain(*resnet, image, 2); });
  usage([&] { make_explainer("saliency")->explain(*resnet, at::zeros({2, 1, 16, 16})); });
  usage([&] { make_explainer("saliency")->explain(*resnet, at::zeros({1, 1, 16, 16}, at::kByte)); });
  message_of(ErrorKind::numeric, [&] {
    make_explainer("saliency")->explain(*resnet, at::full({1, 1, 16, 16}, std::nan("")));
  });
  EXPECT_EQ(default_explainer(*vit, image), "rollout");
  EXPECT_EQ(default_explainer(*resnet, image), "gradcam");
}

}  // namespace
}  // namespace fovea::explain
