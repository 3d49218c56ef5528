#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "fovea/core/error.h"
#include "fovea/models/registry.h"
#include "fovea/models/summary.h"
#include "fovea/models/weights.h"
#include "fovea/nn/attention/self_attention.h"
#include "fovea/nn/block/residual.h"
#include "fovea/nn/meta_device.h"
#include "fovea/nn/tap.h"
#include "tests/support/errors.h"

namespace fovea::models {
namespace {

using nlohmann::json;

int64_t count_parameters(const torch::nn::Module& module) {
  int64_t count = 0;
  for (const auto& p : module.parameters()) count += p.numel();
  return count;
}

// Small images, and no more blocks than are needed to have two.
json small_config(const ModelEntry& entry) {
  const json full = model_config(entry.name, {});
  if (entry.family == "vit") return {{"img_size", 2 * full["patch_size"].get<int64_t>()}, {"depth", 2}};
  return {{"img_size", full["img_size"].get<int64_t>() > 32 ? 33 : 14}};
}

std::shared_ptr<ImageNetwork> small_model(const std::string& name, json config = json::object()) {
  for (const auto& entry : model_entries()) {
    if (entry.name == resolve_model_name(name)) config.update(small_config(entry));
  }
  return make_image_model(name, config);
}

at::Tensor random_input(const Network& network, int64_t batch) {
  auto shape = network.inputs().front().shape;
  shape[0] = batch;
  return at::randn(shape);
}

void forward_has_its_shape_and_every_parameter_a_gradient(ImageNetwork& network) {
  network.train();
  const at::Tensor out = network.forward(random_input(network, 2));
  ASSERT_EQ(out.dim(), 2);
  EXPECT_EQ(out.size(0), 2);
  out.square().sum().backward();
  for (const auto& item : network.named_parameters()) {
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    EXPECT_TRUE(at::isfinite(item.value().grad()).all().item<bool>()) << item.key();
  }
}

void evaluation_is_a_function(ImageNetwork& network) {
  const at::NoGradGuard no_grad;
  network.eval();
  const at::Tensor x = random_input(network, 2);
  EXPECT_TRUE(at::equal(network.forward(x), network.forward(x)));
  EXPECT_TRUE(at::allclose(network.forward(x)[1], network.forward(x.slice(0, 1))[0], 1e-4, 1e-5))
      << "a sample's output must not depend on its batch";
}

void state_goes_round(ImageNetwork& network, ImageNetwork& other) {
  const at::NoGradGuard no_grad;
  const at::Tensor x = random_input(network, 1);
  network.eval();
  other.eval();
  EXPECT_FALSE(at::equal(network.forward(x), other.forward(x)));
  load_state(other, state_dict(network));
  EXPECT_TRUE(at::equal(network.forward(x), other.forward(x)));
}

TEST(EveryModel, PassesTheSuite) {
  at::manual_seed(1);
  int checked = 0;
  for (const auto& entry : model_entries()) {
    SCOPED_TRACE(entry.name);
    const json config = small_config(entry);
    Summary summary;
    {
      const nn::MetaDeviceScope meta;
      summary = summarise(*make_model(entry.name, config));
    }
    if (summary.parameters > 30'000'000) continue;  // the same code as a smaller one of its family
    const auto network = make_image_model(entry.name, config);
    EXPECT_EQ(summary.parameters, count_parameters(*network));
    forward_has_its_shape_and_every_parameter_a_gradient(*network);
    evaluation_is_a_function(*network);
    state_goes_round(*network, *make_image_model(entry.name, config));
    ++checked;
  }
  EXPECT_GE(checked, 25);
}

TEST(EveryModel, HasAFullConfigurationThatMakesItAgain) {
  const nn::MetaDeviceScope meta;
  for (const auto& entry : model_entries()) {
    const json config = model_config(entry.name, {});
    EXPECT_TRUE(config.contains("num_classes") && config.contains("img_size")) << entry.name;
    EXPECT_EQ(model_config(entry.name, config), config) << entry.name;
    EXPECT_FALSE(entry.source.empty() || entry.summary.empty()) << entry.name;
  }
}

TEST(Registry, ResolvesShortFormsAndUnlistedDepths) {
  EXPECT_EQ(resolve_model_name("vit_tiny"), "vit_tiny_patch16_224");
  EXPECT_EQ(resolve_model_name("vit_large"), "vit_large_patch16_224");
  EXPECT_EQ(resolve_model_name("vit_small_patch32"), "vit_small_patch32_224");
  EXPECT_EQ(resolve_model_name("resnet26"), "resnet26");
  EXPECT_EQ(resolve_model_name("plain110"), "plain110");
  EXPECT_EQ(model_config("resnet50", {})["img_size"], 224) << "50 = 6 * 8 + 2, but means ImageNet's";
}

TEST(Registry, NamesTheNearest) {
  const auto make = [](const char* name, json config) { return [=] { make_model(name, config); }; };
  expect_error(ErrorKind::usage, {"'vit_tinny'", "vit_tiny"}, make("vit_tinny", {}));
  expect_error(ErrorKind::usage, {"unknown model 'resnet21'", "Did you mean"}, make("resnet21", {}));
  expect_error(ErrorKind::usage, {"unknown model"}, make("resnet020", {}));
  expect_error(ErrorKind::usage, {"fovea list models"}, make("xyzzy", {}));
  expect_error(ErrorKind::usage, {"[resnet50]", "num_clases", "num_classes"},
               make("resnet50", {{"num_clases", 3}}));
  expect_error(ErrorKind::usage, {"'sofmax'", "softmax"}, make("vit_tiny", {{"attention", "sofmax"}}));
  expect_error(ErrorKind::usage, {"'cbma'", "cbam"}, make("resnet18", {{"attention_block", "cbma"}}));
}

TEST(Registry, RefusesValuesOutOfRange) {
  const auto make = [](const char* name, json config) { return [=] { make_model(name, config); }; };
  expect_error(ErrorKind::usage, {"num_classes must be a whole number", "\"ten\""},
               make("vit_tiny", {{"num_classes", "ten"}}));
  expect_error(ErrorKind::usage, {"[height, width]"}, make("vit_tiny", {{"img_size", {1, 2, 3}}}));
  expect_error(ErrorKind::usage, {"num_heads must divide embed_dim", "5"},
               make("vit_tiny", {{"num_heads", 5}}));
  expect_error(ErrorKind::usage, {"at least one patch"}, make("vit_tiny", {{"img_size", 8}}));
  expect_error(ErrorKind::usage, {"global_pool must be avg"}, make("vit_tiny", {{"class_token", false}}));
  expect_error(ErrorKind::usage, {"[0, 1)"}, make("resnet18", {{"drop_rate", 1.0}}));
  expect_error(ErrorKind::usage, {"at least 0"}, make("resnet18", {{"num_classes", -1}}));
  expect_error(ErrorKind::usage, {"in_chans must be at most 65536"}, make("resnet18", {{"in_chans", 65537}}));
  expect_error(ErrorKind::usage, {"img_size must be at most 65536"}, make("resnet18", {{"img_size", 65537}}));
  expect_error(ErrorKind::usage, {"at most"}, make("resnet18", {{"num_classes", int64_t{1} << 62}}));
  expect_error(ErrorKind::usage, {"depth must be at most 1000"}, make("vit_tiny", {{"depth", 1001}}));
  expect_error(ErrorKind::usage, {"at most 65536"},
               make("vit_tiny", {{"embed_dim", 65538}, {"num_heads", 1}}));
  expect_error(ErrorKind::usage, {"mlp_ratio must be at most 64"}, make("vit_tiny", {{"mlp_ratio", 65}}));
  expect_error(ErrorKind::usage, {"at most 65536"}, make("vit_tiny", {{"img_size", {224, 65537}}}));
  expect_error(ErrorKind::usage, {"JSON object"}, make("resnet18", json::array()));
}

TEST(Weights, LoadFromAFile) {
  const auto path =
      std::filesystem::temp_directory_path() / ("fovea_weights_" + std::to_string(getpid()) + ".safetensors");
  const auto network = small_model("fashion_se_resnet"), other = small_model("fashion_se_resnet");
  io::save_tensors(path, state_dict(*network));
  const LoadReport report = load_weights(*other, path);
  std::filesystem::remove(path);
  EXPECT_TRUE(report.missing.empty() && report.unexpected.empty() && report.mis_shaped.empty());
  const auto a = state_dict(*network), b = state_dict(*other);
  EXPECT_EQ(a.size(), b.size());
  for (const auto& [name, tensor] : a) EXPECT_TRUE(at::equal(tensor, b.at(name))) << name;
  EXPECT_TRUE(a.count("bn1.num_batches_tracked"));
}

TEST(Weights, RefuseWhatDoesNotFitByNameAndChangeNothing) {
  const auto network = small_model("fashion_vit");
  auto state = state_dict(*network);
  for (auto& [name, tensor] : state) tensor = at::full_like(tensor, 7.0);
  state.erase("norm.weight");
  state["head.extra"] = at::zeros({2});
  state["cls_token"] = at::zeros({1, 96});
  const auto load = [&] { load_state(*network, state); };
  expect_error(ErrorKind::model_file,
               {"1 missing (norm.weight)", "1 unexpected (head.extra)",
                "1 mis-shaped (cls_token: model (1, 1, 96), weights (1, 96))"},
               load);
  EXPECT_NE(state_dict(*network).at("head.weight")[0][0].item<float>(), 7.0F);

  const LoadReport report = load_state(*network, state, {.strict = false});
  EXPECT_EQ(report.missing, std::vector<std::string>{"norm.weight"});
  EXPECT_EQ(report.unexpected, std::vector<std::string>{"head.extra"});
  EXPECT_EQ(report.mis_shaped.size(), 1U);
  EXPECT_EQ(state_dict(*network).at("head.weight")[0][0].item<float>(), 7.0F);
  EXPECT_EQ(state_dict(*network).at("norm.weight")[0].item<float>(), 1.0F);
}

TEST(Weights, ComplexNumbersAreRefused) {
  const auto network = small_model("fashion_vit");
  auto state = state_dict(*network);
  state["head.bias"] = at::complex(state["head.bias"], state["head.bias"]);
  expect_error(ErrorKind::model_file, {"head.bias", "real numbers"}, [&] { load_state(*network, state); });
}

TEST(Weights, OldFilesLackTheBatchCounter) {
  const auto network = small_model("resnet20");
  auto state = state_dict(*network);
  std::erase_if(state,
                [](const auto& item) { return item.first.find("num_batches_tracked") != std::string::npos; });
  EXPECT_TRUE(load_state(*network, state).missing.empty());
}

TEST(Initialisation, IsThePapers) {
  at::manual_seed(3);
  const auto vit = state_dict(*make_model("vit_tiny", {{"depth", 1}}));
  EXPECT_NEAR(vit.at("blocks.0.mlp.fc1.weight").std().item<double>(), 0.02, 3e-4);
  EXPECT_NEAR(vit.at("pos_embed").std().item<double>(), 0.02, 3e-4);
  EXPECT_EQ(vit.at("blocks.0.attn.qkv.bias").abs().max().item<double>(), 0.0);
  EXPECT_LT(vit.at("cls_token").abs().max().item<double>(), 1e-5);
  const auto resnet = state_dict(*make_model("resnet18", {{"zero_init_residual", true}}));
  EXPECT_NEAR(resnet.at("layer4.1.conv2.weight").std().item<double>(), std::sqrt(2.0 / (512 * 9)), 2e-4);
  EXPECT_EQ(resnet.at("layer1.0.bn1.weight").min().item<double>(), 1.0);
  EXPECT_EQ(resnet.at("layer1.0.bn2.weight").abs().max().item<double>(), 0.0);
}

TEST(Network, RunTakesInputAndGivesOutput) {
  const auto network = small_model("fashion_vit");
  network->eval();
  const at::Tensor x = random_input(*network, 2);
  const auto out = network->run({{"input", x}});
  EXPECT_EQ(out.size(), 1U);
  EXPECT_TRUE(at::equal(out.at("output"), network->forward(x)));
  const auto run = [&](const io::TensorMap& in) { return [&network, in] { network->run(in); }; };
  expect_error(ErrorKind::data, {"'input' is missing"}, run({}));
  expect_error(ErrorKind::data, {"'mask'"}, run({{"input", x}, {"mask", x}}));
  expect_error(ErrorKind::data, {"(B, 1, 14, 14)", "(2, 1, 7, 14) float"},
               run({{"input", x.slice(2, 0, 7)}}));
  expect_error(ErrorKind::data, {"floating point"}, run({{"input", x.to(at::kByte)}}));
}

TEST(Network, WithoutClassesGivesFeatures) {
  for (const auto& [name, features] :
       {std::pair<const char*, int64_t>{"fashion_vit", 96}, {"resnet18", 512}}) {
    const auto network = small_model(name, {{"num_classes", 0}});
    EXPECT_EQ(network->forward(random_input(*network, 2)).sizes(), (std::vector<int64_t>{2, features}));
    EXPECT_EQ(state_dict(*network).count("head.weight") + state_dict(*network).count("fc.weight"), 0U);
  }
}

TEST(Network, BlockRunnerSeesEveryBlock) {
  for (const char* name : {"fashion_vit", "resnet20"}) {
    const auto network = small_model(name);
    network->eval();
    const at::Tensor x = random_input(*network, 1), plain = network->forward(x);
    int blocks = 0;
    network->set_block_runner([&](torch::nn::Module&, const auto& forward, const at::Tensor& in) {
      ++blocks;
      return forward(in);
    });
    EXPECT_TRUE(at::equal(network->forward(x), plain));
    EXPECT_EQ(blocks, std::string(name) == "resnet20" ? 9 : 2);
  }
}

TEST(Network, CamLayerGivesAMapOrTokens) {
  for (const char* name : {"fashion_vit", "fashion_se_resnet", "resnet18"}) {
    const auto network = small_model(name);
    at::Tensor seen;
    {
      const nn::TapScope scope([&](const auto& module, const auto&, const at::Tensor& out) {
        if (&module == &network->cam_layer()) seen = out;
      });
      network->forward(random_input(*network, 2));
    }
    ASSERT_TRUE(seen.defined()) << name;
    const TokenGrid grid = network->token_grid();
    if (grid.rows == 0) {
      EXPECT_EQ(seen.dim(), 4) << name;
    } else {
      EXPECT_EQ(seen.size(1), grid.prefix + grid.rows * grid.columns) << name;
    }
  }
}

TEST(Network, ShowsAttentionOfEveryLayer) {
  const auto network = make_image_model("fashion_vit", {{"img_size", {14, 21}}});
  network->eval();
  std::vector<at::Tensor> weights;
  const at::Tensor x = random_input(*network, 2), plain = network->forward(x);
  {
    const nn::AttentionTapScope scope([&](const auto& module, const at::Tensor& w) {
      EXPECT_NE(dynamic_cast<const nn::SelfAttentionImpl*>(&module), nullptr);
      weights.push_back(w);
    });
    // The definition, which gives weights, sums in another order than the kernel.
    EXPECT_TRUE(at::allclose(network->forward(x), plain, 1e-5, 1e-6));
  }
  ASSERT_EQ(weights.size(), 4U);
  EXPECT_EQ(weights[3].sizes(), (std::vector<int64_t>{2, 3, 7, 7}));
  EXPECT_LT((weights[3].sum(-1) - 1).abs().max().item<double>(), 1e-5);
}

// Huang et al. 2016: rates rise linearly from 0 at the first block; what is kept is scaled by 1 / (1 - p).
TEST(Network, DropPathRatesRiseLinearlyOverTheBlocks) {
  at::manual_seed(5);
  for (const auto& [name, blocks, branches] :
       {std::tuple<const char*, int, int>{"vit_tiny", 4, 2}, {"resnet20", 9, 1}}) {
    json config = {{"drop_path_rate", 0.3}};
    if (branches == 2) {
      config.update(
          {{"depth", 4}, {"img_size", 32}, {"embed_dim", 24}, {"num_heads", 2}, {"num_classes", 3}});
    } else {
      config["img_size"] = 8;
    }
    const auto network = make_image_model(name, config);
    std::vector<double> scales;
    const nn::TapScope scope([&](const auto& module, const at::Tensor& in, const at::Tensor& out) {
      if (!dynamic_cast<const nn::DropPathImpl*>(&module)) return;
      const at::Tensor a = in.detach().flatten(1).to(at::kDouble),
                       b = out.detach().flatten(1).to(at::kDouble);
      scales.push_back(((a * b).sum(1) / a.square().sum(1)).max().template item<double>());
    });
    network->train();
    network->forward(random_input(*network, 32));
    ASSERT_EQ(scales.size(), size_t((blocks - 1) * branches)) << name << ": the first block drops nothing";
    for (size_t i = 0; i < scales.size(); ++i) {
      const double rate = 0.3 * double(1 + int(i) / branches) / (blocks - 1);
      EXPECT_NEAR(scales[i], 1 / (1 - rate), 1e-5) << name << " " << i;
    }
  }
}

TEST(Network, DropRatesActInTrainingOnly) {
  for (const char* name : {"fashion_vit", "fashion_se_resnet"}) {
    const auto network = small_model(name, {{"drop_rate", 0.5}, {"drop_path_rate", 0.5}});
    const at::Tensor x = random_input(*network, 4);
    network->eval();
    EXPECT_TRUE(at::equal(network->forward(x), network->forward(x))) << name;
    network->train();
    EXPECT_FALSE(at::equal(network->forward(x), network->forward(x))) << name;
  }
}

}  // namespace
}  // namespace fovea::models
