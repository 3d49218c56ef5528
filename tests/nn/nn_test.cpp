#include <gtest/gtest.h>

#include <cmath>

#include "fovea/core/error.h"
#include "fovea/nn/attention/registry.h"
#include "fovea/nn/attention/self_attention.h"
#include "fovea/nn/block/cbam.h"
#include "fovea/nn/block/drop_path.h"
#include "fovea/nn/block/residual.h"
#include "fovea/nn/block/se.h"
#include "fovea/nn/init.h"
#include "fovea/nn/layers.h"
#include "fovea/nn/meta_device.h"

namespace fovea::nn {
namespace {

TEST(Tap, ScopesNestAndEnd) {
  Linear layer(3, 2);
  const at::Tensor x = at::randn({4, 3});
  std::string order;
  {
    const TapScope outer([&](const auto&, const auto&, const auto&) { order += 'o'; });
    {
      const TapScope inner([&](const torch::nn::Module& module, const at::Tensor& in, const at::Tensor& out) {
        EXPECT_EQ(&module, layer.get());
        EXPECT_TRUE(in.is_same(x));
        EXPECT_EQ(out.sizes(), (std::vector<int64_t>{4, 2}));
        order += 'i';
      });
      layer->forward(x);
    }
    layer->forward(x);
    EXPECT_TRUE(tapped());
  }
  layer->forward(x);
  EXPECT_EQ(order, "ioo");
  EXPECT_FALSE(tapped());
}

TEST(Tap, ShownTensorIsTheOneThatGoesOn) {
  BatchNorm2d norm(2);
  ReLU relu(/*inplace=*/true);
  const at::Tensor x = at::randn({3, 2, 4, 4}).set_requires_grad(true);
  at::Tensor shown, before;
  const TapScope scope([&](const torch::nn::Module& module, const auto&, const at::Tensor& out) {
    if (&module != norm.get()) return;
    shown = out;
    before = out.detach().clone();
  });
  const at::Tensor y = relu->forward(norm->forward(x));
  EXPECT_TRUE(at::equal(shown, before)) << "must not be overwritten while somebody listens";
  shown.retain_grad();
  y.sum().backward();
  EXPECT_TRUE(at::equal(shown.grad(), (before > 0).to(at::kFloat)));
}

TEST(Layers, InPlaceReluGivesTheSameGradients) {
  const auto run = [](bool inplace) {
    at::manual_seed(1);
    Conv2d conv(torch::nn::Conv2dOptions(2, 3, 3));
    BatchNorm2d norm(3);
    ReLU(inplace)->forward(norm->forward(conv->forward(at::randn({2, 2, 6, 6})))).square().sum().backward();
    return conv->weight.grad();
  };
  EXPECT_TRUE(at::equal(run(true), run(false)));
}

TEST(Layers, MultiplyAddsAndWindows) {
  Conv2d conv(torch::nn::Conv2dOptions(8, 12, {3, 5}).stride({1, 2}).dilation({2, 1}).groups(4));
  const at::Tensor x = at::randn({2, 8, 10, 11}), y = conv->forward(x);
  EXPECT_EQ(conv->multiply_adds(x, y), y.numel() * (8 / 4) * 3 * 5);
  EXPECT_EQ(conv->window(x, 2).kernel, 3);
  EXPECT_EQ(conv->window(x, 2).dilation, 2);
  EXPECT_EQ(conv->window(x, 3).stride, 2);
  Linear linear(7, 5);
  const at::Tensor a = at::randn({2, 3, 7});
  EXPECT_EQ(linear->multiply_adds(a, linear->forward(a)), 2 * 3 * 5 * 7);
  GlobalAvgPool2d pool;
  EXPECT_EQ(pool->window(x, 3).kernel, 11);
  EXPECT_TRUE(at::allclose(pool->forward(x), at::adaptive_avg_pool2d(x, {1, 1}).flatten(1)));
}

TEST(SelfAttention, EqualsItsFormula) {
  at::manual_seed(2);
  SelfAttentionOptions options;
  options.dim = 12;
  options.num_heads = 3;
  SelfAttention layer(options);
  layer->to(at::kDouble);
  const at::Tensor x = at::randn({2, 5, 12}, at::kDouble), qkv = layer->qkv->forward(x);
  at::Tensor joined = at::zeros_like(x);
  for (int64_t h = 0; h < 3; ++h) {
    const auto part = [&](int64_t which) { return qkv.narrow(2, which * 12 + h * 4, 4); };
    const at::Tensor w = at::softmax(at::bmm(part(0), part(1).transpose(1, 2)) / 2.0, -1);
    joined.narrow(2, h * 4, 4).copy_(at::bmm(w, part(2)));
  }
  EXPECT_TRUE(at::allclose(layer->forward(x), layer->proj->forward(joined), 1e-12, 1e-14));
  EXPECT_EQ(layer->multiply_adds(x, x), 2 * (2 * 3 * 5 * 5 * 4));
}

TEST(SelfAttention, DropsWeightsAndOutputsByTheirOwnRates) {
  at::manual_seed(8);
  const at::Tensor x = at::randn({2, 9, 12});
  for (const bool of_weights : {true, false}) {
    SelfAttentionOptions options;
    options.dim = 12, options.num_heads = 3;
    (of_weights ? options.attn_drop : options.proj_drop) = 0.5;
    SelfAttention layer(options);
    const auto run = [&] {
      std::pair<at::Tensor, at::Tensor> seen;  // weights, output
      const AttentionTapScope scope([&](const auto&, const at::Tensor& w) { seen.first = w.detach(); });
      seen.second = layer->forward(x).detach();
      return seen;
    };
    layer->eval();
    const auto [weights, output] = run();
    layer->train();
    const auto [trained_weights, trained_output] = run();
    const at::Tensor dropped = of_weights ? trained_weights : trained_output,
                     whole = of_weights ? weights : output;
    const at::Tensor kept = dropped != 0;
    EXPECT_TRUE(at::allclose(dropped, at::where(kept, 2 * whole, at::zeros_like(whole)), 1e-5, 1e-6));
    EXPECT_NEAR(kept.to(at::kDouble).mean().item<double>(), 0.5, 4 * 0.5 / std::sqrt(double(kept.numel())));
    if (!of_weights) {
      EXPECT_TRUE(at::equal(trained_weights, weights));
    }
  }
}

TEST(SelfAttention, RefusesWhatItCannotBe) {
  const auto refusal = [](int64_t heads, const std::string& attention) -> std::string {
    SelfAttentionOptions options;
    options.dim = 12, options.num_heads = heads, options.attention = attention;
    try {
      SelfAttention layer(options);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage);
      return e.what();
    }
    return "";
  };
  EXPECT_NE(refusal(5, "softmax").find("width 12, num_heads 5"), std::string::npos);
  EXPECT_NE(refusal(3, "sotfmax").find("Did you mean 'softmax'"), std::string::npos);
  EXPECT_NE(refusal(3, "softmax:block=4").find("block needs a mask of blocks"), std::string::npos);
  EXPECT_EQ(refusal(3, "softmax"), "");
  EXPECT_TRUE(find_attention("softmax").traits.exact);
}

TEST(SqueezeExcite, GateIsOneHalfWithoutSecondLayer) {
  SqueezeExcite se(16, 8);
  torch::NoGradGuard no_grad;
  se->fc2->weight.zero_();
  se->fc2->bias.zero_();
  const at::Tensor x = at::randn({2, 16, 3, 3});
  EXPECT_TRUE(at::equal(se->forward(x), x * 0.5));
}

// timm's make_divisible(channels / 16, 8, round_limit 0).
TEST(SqueezeExcite, WidthIsRoundedAsTimmDoes) {
  const std::vector<std::pair<int64_t, int64_t>> widths = {{16, 8},   {64, 8},   {128, 8},  {176, 8},
                                                           {192, 16}, {256, 16}, {448, 32}, {2048, 128}};
  for (const auto& [channels, reduced] : widths)
    EXPECT_EQ(se_reduced_width(channels, 16), reduced) << channels;
}

TEST(Cbam, SpatialGateStartsAtOneHalf) {
  SpatialGate gate;
  const at::Tensor x = at::randn({2, 5, 6, 7});
  EXPECT_TRUE(at::allclose(gate->forward(x), x * 0.5));
}

// The authors' norm has momentum 0.01; torch keeps the unbiased variance.
TEST(Cbam, SpatialGateMovesItsStatisticsByOnePercent) {
  at::manual_seed(10);
  SpatialGate gate;
  const at::NoGradGuard no_grad;
  const auto buffers = gate->named_buffers();
  const at::Tensor x = at::randn({2, 5, 6, 7}), weight = gate->named_parameters()["spatial.conv.weight"];
  const at::Tensor pooled = at::stack({x.amax(1), x.mean(1)}, 1);
  const at::Tensor scores = at::conv2d(pooled, weight, {}, 1, 3);
  gate->forward(x);
  EXPECT_NEAR(buffers["spatial.bn.running_mean"].item<double>(), 0.01 * scores.mean().item<double>(), 1e-7);
  EXPECT_NEAR(buffers["spatial.bn.running_var"].item<double>(), 0.99 + 0.01 * scores.var().item<double>(),
              1e-6);
}

TEST(DropPath, DropsWholeSamplesAndKeepsTheMean) {
  at::manual_seed(4);
  DropPath drop(0.25);
  const at::Tensor x = at::ones({20000, 2, 3});
  const at::Tensor y = drop->forward(x).flatten(1);
  const at::Tensor first = y.select(1, 0);
  EXPECT_TRUE(at::equal(y, first.unsqueeze(1).expand_as(y)));
  EXPECT_TRUE(((first == 0) | ((first - 4.0 / 3.0).abs() < 1e-6)).all().item<bool>());
  EXPECT_NEAR(y.mean().item<double>(), 1.0, 4.0 * std::sqrt(1.0 / 3.0 / 20000));
  drop->eval();
  EXPECT_TRUE(drop->forward(x).is_same(x));
  EXPECT_THROW(DropPath(1.0), Error);
  EXPECT_EQ(drop_path_rate_of(0, 5, 0.2), 0.0);
  EXPECT_DOUBLE_EQ(drop_path_rate_of(3, 5, 0.2), 0.15);
  EXPECT_EQ(drop_path_rate_of(0, 1, 0.2), 0.0);
}

TEST(Residual, StartsAsTheIdentityWithZeroLastNorm) {
  at::manual_seed(5);
  ResidualOptions options;
  options.in_channels = 8, options.planes = 2;
  BottleneckImpl block(options);
  block.zero_init_last();
  const at::Tensor x = at::randn({2, 8, 5, 5});
  EXPECT_TRUE(at::equal(block.forward(x), at::relu(x)));
}

TEST(Residual, PadShortcutTakesEverySecondPlaceAndPadsBothSides) {
  ResidualOptions options;
  options.in_channels = 2, options.planes = 4, options.stride = 2, options.shortcut = Shortcut::pad;
  BasicBlockImpl block(options);
  block.zero_init_last();
  const at::Tensor x = at::rand({1, 2, 5, 5}), y = block.forward(x);
  EXPECT_EQ(y.sizes(), (std::vector<int64_t>{1, 4, 3, 3}));
  EXPECT_EQ(y[0][0].abs().max().item<double>() + y[0][3].abs().max().item<double>(), 0.0);
  EXPECT_EQ(y[0][1][1][2].item<float>(), x[0][0][2][4].item<float>());
  EXPECT_EQ(y[0][2][2][0].item<float>(), x[0][1][4][0].item<float>());
}

TEST(Residual, ListenersChangeNothing) {
  at::manual_seed(6);
  ResidualOptions options;
  options.in_channels = 4, options.planes = 4, options.attention_block = "cbam";
  BasicBlockImpl block(options);
  const at::Tensor x = at::randn({2, 4, 6, 6});
  block.eval();
  const at::Tensor plain = block.forward(x);
  const TapScope scope([](const auto&, const auto&, const auto&) {});
  EXPECT_TRUE(at::equal(block.forward(x), plain));
}

TEST(TruncNormal, HasItsDeviationAndBounds) {
  at::manual_seed(7);
  const at::Tensor t = at::empty({100000}, at::kDouble);
  trunc_normal_(t, 0.02);
  EXPECT_NEAR(t.std().item<double>(), 0.02, 2e-4);
  EXPECT_NEAR(t.mean().item<double>(), 0.0, 3e-4);
  trunc_normal_(t, 1.0);
  EXPECT_LE(t.abs().max().item<double>(), 2.0);
  EXPECT_NEAR(t.var().item<double>(), 0.7737, 5e-3);  // of a standard normal cut at +-2
}

// The lower end of uniform_ comes once in 2^24 float32 numbers; with these seeds it is among them.
TEST(TruncNormal, HasNoOutliers) {
  for (const uint64_t seed : {12, 34}) {
    at::manual_seed(seed);
    const at::Tensor t = at::empty({1 << 20});
    trunc_normal_(t, 0.02);
    EXPECT_LT(t.abs().max().item<double>(), 6 * 0.02) << "chance of a normal number: 2e-9";
  }
}

TEST(MetaDevice, EverythingIsMadeThereAndOnlyThere) {
  {
    const MetaDeviceScope outer;
    {
      const MetaDeviceScope inner;
      EXPECT_TRUE(Linear(100000, 100000)->weight.is_meta());
    }
    EXPECT_TRUE(at::randn({3}).is_meta());
    EXPECT_TRUE(BatchNorm2d(3)->running_mean.is_meta());
  }
  EXPECT_TRUE(at::randn({3}).is_cpu());
  EXPECT_TRUE(Linear(3, 3)->weight.is_cpu());
}

TEST(MetaDevice, ConvolutionsHaveTheirRealShapes) {
  for (const bool transposed : {false, true}) {
    for (const int64_t stride : {1, 2, 3}) {
      for (const int64_t dilation : {1, 2}) {
        const auto run = [&] {
          const at::Tensor x = at::zeros({2, 4, 17, 20});
          const at::Tensor w = at::zeros({4, transposed ? 3 : 2, 3, 5});
          return transposed ? at::conv_transpose2d(x, w, {}, stride, {1, 2}, stride - 1, 2, dilation)
                            : at::conv2d(x, w, {}, stride, {1, 2}, dilation, 2);
        };

        const at::Tensor real = run();
        const MetaDeviceScope meta;
        const at::Tensor shape_only = run();
        EXPECT_TRUE(shape_only.is_meta());
        EXPECT_EQ(shape_only.sizes(), real.sizes()) << transposed << stride << dilation;
      }
    }
  }
}

}  // namespace
}  // namespace fovea::nn
