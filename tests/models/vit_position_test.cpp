#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "fovea/core/error.h"
#include "fovea/models/registry.h"
#include "fovea/models/summary.h"
#include "fovea/nn/attention/registry.h"
#include "fovea/nn/meta_device.h"
#include "fovea/nn/position/registry.h"
#include "tests/support/errors.h"

// A vision transformer with each position scheme.

namespace fovea::models {
namespace {

constexpr int64_t kPatch = 4, kSide = 3;

std::shared_ptr<ImageNetwork> placed_vit(const std::string& position, bool class_token = true) {
  return make_image_model("vit_tiny", {{"img_size", kPatch * kSide},
                                       {"patch_size", kPatch},
                                       {"embed_dim", 24},
                                       {"num_heads", 2},
                                       {"depth", 2},
                                       {"num_classes", 5},
                                       {"class_token", class_token},
                                       {"global_pool", class_token ? "token" : "avg"},
                                       {"position", position}});
}

at::Tensor patches_in_order(const at::Tensor& images, const at::Tensor& order) {
  return images.unflatten(2, {kSide, kPatch})
      .unflatten(4, {kSide, kPatch})
      .permute({0, 1, 2, 4, 3, 5})
      .flatten(2, 3)
      .index_select(2, order)
      .unflatten(2, {kSide, kSide})
      .permute({0, 1, 2, 4, 3, 5})
      .reshape(images.sizes());
}

TEST(VitPosition, EverySchemeLearns) {
  for (const auto& entry : nn::position_entries()) {
    for (const bool class_token : {true, false}) {
      const auto network = placed_vit(entry.name, class_token);
      network->forward(at::randn({2, 3, 12, 12})).square().sum().backward();
      for (const auto& item : network->named_parameters()) {
        ASSERT_TRUE(item.value().grad().defined()) << entry.name << ' ' << item.key();
        EXPECT_TRUE(at::isfinite(item.value().grad()).all().item<bool>()) << entry.name << ' ' << item.key();
      }
    }
  }
}

// Counted without memory, or refused with a reason.
TEST(VitAttention, EveryMechanismIsCountedOrRefused) {
  int counted = 0;
  for (const auto& entry : nn::attention_entries()) {
    SCOPED_TRACE(entry.name);
    const nn::MetaDeviceScope meta;
    try {
      const nlohmann::json config = {
          {"attention", entry.name}, {"class_token", false}, {"global_pool", "avg"}};
      EXPECT_GT(summarise(*make_model("fashion_vit", config)).multiply_adds, 0);
      ++counted;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage) << error.what();
    }
  }
  EXPECT_GE(counted, 30);
}

// What depends on numbers when it runs, as lengths, slopes and thresholds do.
TEST(VitAttention, SettingsAreCountedWithoutNumbers) {
  const auto counts = [](const char* attention, const std::string& position) {
    SCOPED_TRACE(attention + (" with " + position));
    const nn::MetaDeviceScope meta;
    const nlohmann::json config = {
        {"attention", attention}, {"class_token", false}, {"global_pool", "avg"}, {"position", position}};
    EXPECT_NO_THROW(EXPECT_GT(summarise(*make_model("fashion_vit", config)).multiply_adds, 0));
  };
  for (const auto& entry : nn::position_entries()) counts("softmax", entry.name);
  for (const char* text : {"entmax:alpha=1.2", "entmax:learned=true", "memory:size=4",
                           "memory:size=4,temporal=true", "nystrom:exact=true", "head_gate:causal=true"}) {
    counts(text, "learned");
  }
  counts("local_p", "shaw");
  counts("hierarchical:segment=16", "rotary");
}

TEST(VitAttention, AClassTokenThatSeesItselfAloneIsRefused) {
  for (const char* text : {"forgetting", "sparse_fixed", "linear:causal=true", "lsh:causal=true"}) {
    const nlohmann::json with_token = {{"attention", text}};
    expect_error(ErrorKind::usage, {"[vit]", "class token", text},
                 [&] { make_image_model("fashion_vit", with_token); });
    make_image_model("fashion_vit", {{"attention", text}, {"global_pool", "avg"}});
  }
}

TEST(VitPosition, KeysAreTimmsUnlessAskedOtherwise) {
  const auto has = [](const std::string& position, const char* key) {
    return placed_vit(position)->named_parameters().contains(key);
  };
  EXPECT_TRUE(has("learned", "pos_embed"));
  EXPECT_FALSE(has("none", "pos_embed"));
  EXPECT_TRUE(has("t5", "position.relative_attention_bias.weight"));
  EXPECT_TRUE(has("conditional", "position.proj.0.weight"));
  EXPECT_TRUE(has("swin", "blocks.1.attn.position.relative_position_bias_table"));
  EXPECT_TRUE(has("shaw", "blocks.0.attn.position.w_V"));
  EXPECT_EQ(model_config("vit_tiny", {})["position"], "learned");
}

TEST(VitPosition, WithoutPositionsPatchesAreASet) {
  at::manual_seed(51);
  const at::NoGradGuard no_grad;
  const at::Tensor images = at::randn({2, 3, 12, 12}),
                   moved = patches_in_order(images, at::tensor({4, 0, 8, 2, 7, 1, 3, 6, 5}));
  for (const auto& entry : nn::position_entries()) {
    const auto network = placed_vit(entry.name);
    network->eval();
    for (const auto& item : network->named_parameters()) {
      if (item.key().find("pos") != std::string::npos) item.value().normal_();
    }
    const double apart = (network->forward(images) - network->forward(moved)).abs().max().item<double>();
    if (entry.name == "none") {
      EXPECT_LT(apart, 1e-6);
    } else {
      EXPECT_GT(apart, 1e-5) << entry.name;
    }
  }
}

TEST(VitPosition, RefusesWhatDoesNotFit) {
  expect_error(ErrorKind::usage, {"Did you mean 'learned'?"}, [] { placed_vit("lerned"); });
  expect_error(ErrorKind::usage, {"[learned]", "10 rows, 9 vectors"}, [] {
    placed_vit("learned:max_len=9")->forward(at::randn({1, 3, 12, 12}));
  });
}

}  // namespace
}  // namespace fovea::models
