#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "fovea/io/tensors.h"
#include "fovea/nn/attention/multi_scale_deformable.h"
#include "fovea/nn/attention/registry.h"
#include "fovea/nn/attention/sampling_points.h"
#include "fovea/nn/attention/self_attention.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace fovea::nn {
namespace {

const std::vector<MapShape> kMaps = {{4, 6}, {2, 3}};

// One of scripts/parity_tests/deformable_golden.py.
const at::Tensor& deformable_golden(const std::string& key) {
  static const io::TensorMap all = io::load_tensors(FOVEA_TEST_DATA "/nn/deformable.safetensors");
  return all.at(key);
}

void expect_close(const at::Tensor& a, const at::Tensor& b, const std::string& what) {
  const double size = std::max(b.abs().max().item<double>(), 1.0);
  EXPECT_LT((a - b).abs().max().item<double>() / size, 1e-12) << what;
}

void expect_transformers(const std::string& name) {
  const auto golden = [&](const std::string& key) { return deformable_golden(name + "." + key); };
  MultiScaleDeformableAttention module(MultiScaleDeformableOptions{8, 2, 2, 3});
  module->to(at::kDouble);
  {
    const torch::NoGradGuard no_grad;
    for (const auto& item : module->named_parameters()) item.value().copy_(golden("weight." + item.key()));
  }
  const at::Tensor query = golden("query").clone().requires_grad_(),
                   input = golden("input").clone().requires_grad_();
  const at::Tensor out = module->forward(query, golden("reference"), input, kMaps, golden("seen_values"));
  (out * golden("seen")).sum().backward();
  expect_close(out, golden("out"), name);
  expect_close(query.grad(), golden("grad.query"), name + ", query");
  expect_close(input.grad(), golden("grad.input"), name + ", input");
  for (const auto& item : module->named_parameters()) {
    expect_close(item.value().grad(), golden("grad." + item.key()), name + ", " + item.key());
  }
}

TEST(MultiScaleDeformable, EqualsTransformersAtPoints) { expect_transformers("points"); }
TEST(MultiScaleDeformable, EqualsTransformersAtBoxes) { expect_transformers("boxes"); }

// Heads look along axes and diagonals, as the paper's figure of it.
TEST(MultiScaleDeformable, StartsAsAStar) {
  MultiScaleDeformableAttention module(MultiScaleDeformableOptions{16, 1, 8, 2});
  const at::Tensor offsets = module->sampling_offsets->bias.view({8, 1, 2, 2});
  EXPECT_TRUE(at::allclose(offsets[0][0][0], at::tensor({1.0f, 0.0f}), 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(offsets[1][0][1], at::tensor({2.0f, 2.0f}), 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(offsets[2][0][0], at::tensor({0.0f, 1.0f}), 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(offsets[5][0][1], at::tensor({-2.0f, -2.0f}), 1e-5, 1e-6));
  EXPECT_EQ(module->sampling_offsets->weight.abs().max().item<double>(), 0.0);
}

TEST(MultiScaleDeformable, RefusesWhatDoesNotFit) {
  MultiScaleDeformableAttention module(MultiScaleDeformableOptions{8, 2, 2, 3});
  const at::Tensor query = at::randn({1, 5, 8}), reference = at::rand({1, 5, 2, 2}),
                   input = at::randn({1, 30, 8});
  const auto refused = [&](const std::string& part, const at::Tensor& places,
                           const std::vector<MapShape>& maps) {
    expect_error(ErrorKind::usage, {part}, [&] { module->forward(query, places, input, maps); });
  };
  refused("references must lie in 0 ... 1", reference + 1, kMaps);
  refused("references must lie in 0 ... 1", reference * test::kNan, kMaps);
  refused("must fit", reference.narrow(2, 0, 1), kMaps);
  refused("a map for each level", reference, {{5, 6}});
  refused("sum to the values", reference, {{5, 5}, {2, 2}});
  expect_error(ErrorKind::usage, {"n_heads divide d_model"}, [] {
    MultiScaleDeformableAttention(MultiScaleDeformableOptions{8, 1, 3, 1});
  });
}

// Offsets of 0: every query reads its own place.
TEST(DeformableMechanism, ZeroOffsetsGiveThePlaceItself) {
  for (const std::string text : {"deformable", "deformable:places=sequence,points=2"}) {
    const auto attention = parse_attention(text).build({2, 1, 4, 4, 6});
    {
      const torch::NoGradGuard no_grad;
      attention->named_parameters()["sampling_offsets.bias"].zero_();
    }
    AttentionInput input;
    input.q = at::randn({2, 2, 20, 4}), input.k = input.v = at::randn({2, 1, 20, 4}),
    input.x = at::randn({2, 20, 6});
    input.grid = GridPositions{4, 5, 0};
    const at::Tensor out = attention->forward(input).out;
    EXPECT_LT((out - input.v).abs().max().item<double>(), 1e-5) << text;
  }
}

// In bfloat16 alone, places of long maps would be several places off.
TEST(DeformableMechanism, FindsPlacesOfLongMapsInHalfTypes) {
  at::manual_seed(3);
  for (const std::string text : {"deformable", "deformable:places=sequence,levels=1"}) {
    const auto attention = parse_attention(text).build({2, 1, 4, 4, 6});
    {
      const torch::NoGradGuard no_grad;
      attention->named_parameters()["sampling_offsets.bias"].zero_();
    }
    for (const auto type : {at::kBFloat16, at::kHalf}) {
      attention->to(type);
      AttentionInput input;
      input.q = at::randn({1, 2, 1000, 4}, type), input.k = input.v = at::randn({1, 1, 1000, 4}, type),
      input.x = at::randn({1, 1000, 6}, type);
      input.grid = GridPositions{4, 250, 0};
      const at::Tensor out = attention->forward(input).out;
      EXPECT_EQ(out.scalar_type(), type);
      EXPECT_LT((out - input.v).to(at::kFloat).abs().max().item<double>(), 0.02) << text;
    }
  }
}

TEST(DeformableMechanism, ASequenceNeedsNoGridOfItsHost) {
  SelfAttentionOptions options;
  options.dim = 8, options.num_heads = 2, options.attention = "deformable:places=sequence";
  EXPECT_EQ(SelfAttention(options)->forward(at::randn({2, 7, 8})).sizes(), at::IntArrayRef({2, 7, 8}));
  options.attention = "deformable";
  expect_error(ErrorKind::usage, {"[deformable]", "rows and columns as `grid`"},
               [&] { SelfAttention layer(options); });
}

// The middle of the map is between the four places around it.
TEST(DeformableMechanism, ATokenBeforeTheGridLooksFromItsMiddle) {
  const auto attention = parse_attention("deformable:points=1").build({1, 1, 3, 3, 6});
  {
    const torch::NoGradGuard no_grad;
    attention->named_parameters()["sampling_offsets.bias"].zero_();
  }
  AttentionInput input;
  input.q = input.k = at::randn({1, 1, 17, 3}), input.v = at::randn({1, 1, 17, 3}),
  input.x = at::randn({1, 17, 6});
  input.grid = GridPositions{4, 4, 1};
  const at::Tensor out = attention->forward(input).out, map = input.v.narrow(2, 1, 16).view({4, 4, 3});
  EXPECT_LT((out[0][0][0] - map.slice(0, 1, 3).slice(1, 1, 3).mean(at::IntArrayRef{0, 1}))
                .abs()
                .max()
                .item<double>(),
            1e-6);
}

// Each further map has the means of 2 x 2 places of the one before.
TEST(DeformableMechanism, LevelsAreMeans) {
  const auto attention = parse_attention("deformable:points=1,levels=2").build({1, 1, 1, 1, 2});
  {
    const torch::NoGradGuard no_grad;
    attention->named_parameters()["sampling_offsets.bias"].zero_();
    attention->named_parameters()["attention_weights.bias"].copy_(
        at::tensor({-1e4f, 0.0f}));  // the second alone
  }
  AttentionInput input;
  input.q = input.k = at::zeros({1, 1, 16, 1}), input.v = at::arange(16, at::kFloat).view({1, 1, 16, 1});
  input.x = at::zeros({1, 16, 2});
  input.grid = GridPositions{4, 4, 0};
  // Place (1, 1) lies at (0.375, 0.375), a quarter of a large place beyond the first centre.
  const double means[] = {2.5, 4.5, 10.5, 12.5};
  const double expected = 0.5625 * means[0] + 0.1875 * (means[1] + means[2]) + 0.0625 * means[3];
  EXPECT_NEAR(attention->forward(input).out[0][0][5][0].item<double>(), expected, 1e-5);
}

}  // namespace
}  // namespace fovea::nn
