#include "fovea/models/summary.h"

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "fovea/models/registry.h"
#include "fovea/nn/meta_device.h"

namespace fovea::models {
namespace {

Summary on_meta(const std::string& name, const nlohmann::json& config = {}) {
  const nn::MetaDeviceScope meta;
  return summarise(*make_model(name, config));
}

struct Count {
  const char* name;
  const char* block;
  int64_t parameters;
};

// Counted in torchvision, timm and the CBAM authors' code; the CIFAR forms as the paper's section 4.2 counts.
const Count kPublished[] = {{"resnet18", nullptr, 11'689'512},
                            {"resnet34", nullptr, 21'797'672},
                            {"resnet50", nullptr, 25'557'032},
                            {"resnet101", nullptr, 44'549'160},
                            {"resnet152", nullptr, 60'192'808},
                            {"resnet20", nullptr, 269'722},
                            {"resnet32", nullptr, 464'154},
                            {"resnet44", nullptr, 658'586},
                            {"resnet56", nullptr, 853'018},
                            {"resnet110", nullptr, 1'727'962},
                            {"resnet1202", nullptr, 19'421'274},
                            {"plain20", nullptr, 269'722},
                            {"seresnet50", nullptr, 28'088'024},
                            {"resnet50", "se", 28'088'024},
                            {"resnet50", "cbam", 28'089'624},
                            {"resnet18", "cbam", 11'779'392},
                            {"resnet101", "cbam", 49'330'172},
                            {"vit_base_patch16_224", nullptr, 86'567'656},
                            {"vit_base_patch32_224", nullptr, 88'224'232},
                            {"vit_large_patch16_224", nullptr, 304'326'632},
                            {"fashion_vit", nullptr, 306'826},
                            {"fashion_se_resnet", nullptr, 313'962}};

TEST(Summary, ParametersEqualThePublishedCounts) {
  for (const auto& c : kPublished) {
    SCOPED_TRACE(c.name);
    const Summary s =
        on_meta(c.name, c.block ? nlohmann::json{{"attention_block", c.block}} : nlohmann::json());
    EXPECT_EQ(s.parameters, c.parameters);
    EXPECT_EQ(s.trainable, c.parameters);
    int64_t rows = 0;
    for (const auto& row : s.layers) rows += row.parameters;
    EXPECT_EQ(rows, c.parameters) << "rows must add up to the total";
  }
}

// Table 1 of the paper, with the stride on the 3x3; convolutions and the last layer.
int64_t bottleneck_multiply_adds(const std::vector<int64_t>& blocks) {
  int64_t total = 64LL * 3 * 7 * 7 * 112 * 112, in = 64, size = 56;
  for (size_t stage = 0; stage < 4; ++stage) {
    const int64_t planes = 64LL << stage;
    for (int64_t b = 0; b < blocks[stage]; ++b) {
      const int64_t out_size = stage > 0 && b == 0 ? size / 2 : size;
      total += in * planes * size * size;
      total += 9 * planes * planes * out_size * out_size;
      total += 4 * planes * planes * out_size * out_size;
      if (b == 0) total += in * 4 * planes * out_size * out_size;
      in = 4 * planes;
      size = out_size;
    }
  }
  return total + 2048 * 1000;
}

int64_t vit_multiply_adds(int64_t dim, int64_t depth, int64_t tokens, int64_t patch, bool products) {
  const int64_t embed = (tokens - 1) * 3 * patch * patch * dim;
  const int64_t block = tokens * dim * dim * (3 + 1 + 4 + 4) + (products ? 2 * tokens * tokens * dim : 0);
  return embed + depth * block + dim * 1000;
}

TEST(Summary, MultiplyAddsEqualTheFormula) {
  EXPECT_EQ(on_meta("resnet50").multiply_adds, bottleneck_multiply_adds({3, 4, 6, 3}));
  EXPECT_EQ(on_meta("resnet152").multiply_adds, bottleneck_multiply_adds({3, 8, 36, 3}));
  EXPECT_EQ(on_meta("vit_base_patch16_224").multiply_adds, vit_multiply_adds(768, 12, 197, 16, true));
  EXPECT_EQ(on_meta("vit_large_patch14_224").multiply_adds, vit_multiply_adds(1024, 24, 257, 14, true));
  // As published, in GMAC.
  EXPECT_NEAR(on_meta("resnet50").multiply_adds / 1e9, 4.089, 5e-4);
  EXPECT_NEAR(on_meta("resnet152").multiply_adds / 1e9, 11.514, 5e-4);
  EXPECT_NEAR(on_meta("vit_base_patch16_224").multiply_adds / 1e9, 17.56, 5e-3);
  EXPECT_NEAR(vit_multiply_adds(768, 12, 197, 16, false) / 1e9, 16.85, 5e-3);
  const auto doubled = summarise(*make_model("resnet20", {}), {2, 3, 32, 32});
  EXPECT_EQ(doubled.multiply_adds, 2 * on_meta("resnet20").multiply_adds);
}

const LayerSummary& row(const Summary& summary, const std::string& path) {
  for (const auto& r : summary.layers) {
    if (r.path == path) return r;
  }
  throw std::runtime_error("no row " + path);
}

TEST(Summary, ReceptiveFieldGrowsByKernelAndStride) {
  const Summary resnet50 = on_meta("resnet50");
  EXPECT_EQ(row(resnet50, "conv1").receptive_field, 7);
  EXPECT_EQ(row(resnet50, "maxpool").receptive_field, 11);
  EXPECT_EQ(row(resnet50, "layer1.2").receptive_field, 11 + 3 * 2 * 4);
  EXPECT_EQ(row(resnet50, "layer2.0.downsample.0").receptive_field, 35) << "1x1: what its input sees";
  EXPECT_EQ(row(resnet50, "layer2.3").receptive_field, 35 + 2 * 4 + 3 * 2 * 8);
  EXPECT_EQ(row(resnet50, "layer4.2").receptive_field, 427);
  EXPECT_EQ(row(on_meta("resnet18"), "layer4.1").receptive_field, 435);
  EXPECT_EQ(row(on_meta("seresnet18"), "layer4.1").receptive_field, 435) << "global gates are not counted";
  EXPECT_EQ(row(on_meta("resnet20"), "layer3.2").receptive_field, 3 + 6 * 2 + 2 + 5 * 4 + 4 + 5 * 8);
  const Summary vit = on_meta("vit_tiny");
  EXPECT_EQ(row(vit, "patch_embed.proj").receptive_field, 16);
  EXPECT_EQ(row(vit, "blocks.0.norm1").receptive_field, 16);
  EXPECT_FALSE(row(vit, "blocks.0").receptive_field.has_value());
  EXPECT_FALSE(row(vit, "head").receptive_field.has_value());
}

// One block a stage: stem and block are conv, norm, relu (once, twice), each a tensor; no sum without a
// shortcut.
TEST(Summary, ActivationBytesCountEveryTensorOnce) {
  const int64_t numbers = (3 + 6) * 16 * 32 * 32 + 6 * 32 * 16 * 16 + 6 * 64 * 8 * 8 + 64 + 10;
  const Summary plain = on_meta("plain8");
  EXPECT_EQ(plain.activation_bytes, 4 * numbers);
  EXPECT_EQ(row(plain, "").activation_bytes, 0) << "the network gives the last layer's own tensor";
  EXPECT_EQ(row(plain, "layer2.0.conv1").output_shape, (std::vector<int64_t>{1, 32, 16, 16}));
}

TEST(Summary, AgreesOnMetaAndOnTheCpu) {
  const auto network = make_model("fashion_se_resnet", {});
  network->train();
  EXPECT_EQ(to_json(summarise(*network)), to_json(on_meta("fashion_se_resnet")));
  EXPECT_TRUE(network->is_training()) << "the mode comes back";
}

TEST(Summary, JsonHasItsKeys) {
  const auto j = to_json(on_meta("fashion_vit"));
  EXPECT_EQ(j["parameters"], 306'826);
  for (const char* key : {"trainable", "multiply_adds", "activation_bytes"})
    EXPECT_TRUE(j[key].is_number()) << key;
  EXPECT_EQ(j["layers"][0]["type"], "VisionTransformer");
  EXPECT_TRUE(j["layers"][0]["receptive_field"].is_null());
}

TEST(Summary, LargeNetworksTakeNeitherMemoryNorTime) {
  const auto start = std::chrono::steady_clock::now();
  // 7 billion parameters, 27 GB.
  const Summary s = on_meta("vit_large", {{"embed_dim", 4096}, {"depth", 35}, {"num_heads", 32}});
  EXPECT_GT(s.parameters, 7'000'000'000);
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 3.0);
}

}  // namespace
}  // namespace fovea::models
