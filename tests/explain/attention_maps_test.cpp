// Attention rollout and raw attention against their formulas.
#include "fovea/explain/attention_maps.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <tuple>

#include "fovea/explain/attention_operands.h"
#include "fovea/explain/explainer.h"
#include "fovea/explain/grad_cam.h"
#include "fovea/explain/rollout.h"
#include "fovea/nn/tap.h"
#include "tests/explain/networks.h"

namespace fovea::explain {
namespace {

std::vector<at::Tensor> weights_by_tap(models::ImageNetwork& net, const at::Tensor& image) {
  std::vector<at::Tensor> all;
  const nn::AttentionTapScope scope(
      [&all](const torch::nn::Module&, const at::Tensor& w) { all.push_back(w.detach()); });
  net.forward(image);
  return all;
}

// The paper's formula, one number at a time.
at::Tensor rollout_by_loops(const std::vector<at::Tensor>& weights, const std::string& fusion) {
  const int64_t heads = weights[0].size(1), n = weights[0].size(2);
  at::Tensor rolled = at::eye(n, at::kDouble);
  for (const auto& layer : weights) {
    at::Tensor mixed = at::zeros({n, n}, at::kDouble);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double fused = fusion == "min" ? 1e9 : 0;
        for (int64_t h = 0; h < heads; ++h) {
          const double w = layer[0][h][i][j].item<double>();
          if (fusion == "mean") fused += w / static_cast<double>(heads);
          if (fusion == "max") fused = std::max(fused, w);
          if (fusion == "min") fused = std::min(fused, w);
        }
        mixed[i][j] = fused;
      }
      mixed[i] /= mixed[i].sum().item<double>();
      mixed[i] *= 0.5;
      mixed[i][i] += 0.5;
    }
    rolled = at::matmul(mixed, rolled);
  }
  return rolled;
}

// The weights of what is recorded are the network's own.
TEST(AttentionOperandsTest, GiveTheNetworksWeights) {
  const auto net = small_vit();
  at::manual_seed(3);
  const auto image = at::randn({2, 1, 16, 16});
  const AttentionOperands operands = record_operands(*net, image);
  net->eval();
  const auto weights = weights_by_tap(*net, image);
  ASSERT_EQ(operands.inputs.size(), weights.size());
  EXPECT_EQ(operands.layers[1], "blocks.1.attn");
  for (size_t i = 0; i < weights.size(); ++i) {
    const auto& [q, k] = std::tie(operands.inputs[i].q, operands.inputs[i].k);
    const at::Tensor scores = at::matmul(q, k.transpose(2, 3)) / std::sqrt(static_cast<double>(q.size(3)));
    EXPECT_LT(relative_error(at::softmax(scores, -1), weights[i]), 1e-5);
  }
}

TEST(RolloutTest, EqualsItsFormula) {
  const auto net = small_vit();
  net->eval();
  at::manual_seed(2);
  const auto image = at::randn({1, 1, 16, 16}) * 3;
  const auto weights = weights_by_tap(*net, image);
  ASSERT_EQ(weights.size(), 3u);
  for (const std::string fusion : {"mean", "max", "min"}) {
    const auto want = rollout_by_loops(weights, fusion)[0].slice(0, 1).view({4, 4});
    const auto found = make_explainer("rollout:head_fusion=" + fusion)->explain(*net, image, -1);
    EXPECT_LT(relative_error(found.values, want), 1e-5) << fusion;
    EXPECT_TRUE(found.check->holds);
    EXPECT_LT(found.check->error, 1e-6);
    EXPECT_EQ(found.layer, "blocks.2.attn");
  }
  const auto two = make_explainer("rollout:layer=1")->explain(*net, image, -1);
  const auto want = rollout_by_loops({weights[0], weights[1]}, "mean")[0].slice(0, 1).view({4, 4});
  EXPECT_LT(relative_error(two.values, want), 1e-5);
}

TEST(RolloutTest, WithoutAClassTokenItIsTheMeanOverTokens) {
  const auto net = small_vit(/*class_token=*/false);
  net->eval();
  at::manual_seed(2);
  const auto image = at::randn({1, 1, 16, 16}) * 3;
  const auto want = rollout_by_loops(weights_by_tap(*net, image), "mean").mean(0).view({4, 4});
  EXPECT_LT(relative_error(make_explainer("rollout")->explain(*net, image, -1).values, want), 1e-5);
}

// 3 rows and 5 columns of patches: rows and columns cannot be taken for one another unseen.
TEST(TokenMaps, FollowRowsAndColumnsOfAWideImage) {
  at::manual_seed(3);
  const auto net = models::make_image_model("vit_tiny", {{"img_size", {12, 20}},
                                                         {"patch_size", 4},
                                                         {"embed_dim", 32},
                                                         {"depth", 2},
                                                         {"num_heads", 2},
                                                         {"in_chans", 1},
                                                         {"num_classes", 2}});
  net->eval();
  const auto image = at::randn({1, 1, 12, 20}) * 3;
  const auto weights = weights_by_tap(*net, image);
  const auto rolled = rollout_by_loops(weights, "mean")[0];
  const auto cam = layer_gradient(*net, image, 1, "");
  at::Tensor tokens;
  {
    const nn::TapScope scope([&](const torch::nn::Module& m, const at::Tensor&, const at::Tensor& out) {
      if (&m == &net->cam_layer()) tokens = out.detach();
    });
    net->forward(image);
  }
  const auto found = make_explainer("rollout")->explain(*net, image, 1);
  const auto raw = make_explainer("attention")->explain(*net, image, 1);
  ASSERT_EQ(found.values.sizes(), at::IntArrayRef({3, 5}));
  ASSERT_EQ(cam.activations.sizes(), at::IntArrayRef({1, 32, 3, 5}));
  for (int64_t y = 0; y < 3; ++y) {
    for (int64_t x = 0; x < 5; ++x) {
      const int64_t token = 1 + y * 5 + x;
      EXPECT_NEAR(found.values[y][x].item<double>(), rolled[token].item<double>(), 1e-6);
      EXPECT_NEAR(raw.values[y][x].item<double>(), weights[1][0].mean(0)[0][token].item<double>(), 1e-6);
      EXPECT_TRUE(at::equal(cam.activations[0].select(1, y).select(1, x), tokens[0][token]));
    }
  }
  EXPECT_EQ(found.map.sizes(), at::IntArrayRef({12, 20}));
}

TEST(RolloutTest, DiscardsTheSmallestButKeepsRowsWhole) {
  at::manual_seed(1);
  const auto w = at::rand({1, 5, 5}).softmax(-1);
  ExplainerOptions options;
  options.discard_ratio = 0.5;
  const auto rolled = rollout_matrix({w}, options, 1);
  EXPECT_TRUE(at::allclose(rolled.sum(-1), at::ones({5}, at::kDouble)));
  const auto sorted = std::get<0>(w.flatten().sort());
  for (int64_t i = 0; i < 5; ++i) {
    for (int64_t j = 0; j < 5; ++j) {
      if (i == j) continue;
      const bool small = w[0][i][j].item<float>() <= sorted[11].item<float>();
      EXPECT_EQ(rolled[i][j].item<double>() == 0, small && j != 0) << i << " " << j;
    }
  }
}

TEST(RawAttentionTest, ShowsOneHeadOfOneLayer) {
  const auto net = small_vit();
  net->eval();
  at::manual_seed(2);
  const auto image = at::randn({1, 1, 16, 16}) * 3;
  const auto weights = weights_by_tap(*net, image);
  const auto found = make_explainer("attention:layer=blocks.1,head=1")->explain(*net, image, -1);
  EXPECT_TRUE(at::allclose(found.values, weights[1][0][1][0].slice(0, 1).view({4, 4})));
  EXPECT_EQ(found.layer, "blocks.1.attn");
  const auto last = make_explainer("attention")->explain(*net, image, -1);
  EXPECT_TRUE(at::allclose(last.values, weights[2][0].mean(0)[0].slice(0, 1).view({4, 4})));
}

// A class token that the head does not read says nothing of the prediction.
TEST(RawAttentionTest, FollowsWhatTheHeadReads) {
  const auto net = models::make_image_model("vit_tiny", {{"img_size", 16},
                                                         {"patch_size", 4},
                                                         {"embed_dim", 32},
                                                         {"depth", 1},
                                                         {"num_heads", 2},
                                                         {"in_chans", 1},
                                                         {"num_classes", 2},
                                                         {"global_pool", "avg"}});
  net->eval();
  at::manual_seed(2);
  const auto image = at::randn({1, 1, 16, 16}) * 3;
  const auto weights = weights_by_tap(*net, image);
  const auto found = make_explainer("attention")->explain(*net, image, -1);
  const auto patches = weights[0][0].mean(0).slice(0, 1).slice(1, 1);
  EXPECT_TRUE(at::allclose(found.values, patches.mean(0).view({4, 4})));
}

}  // namespace
}  // namespace fovea::explain
