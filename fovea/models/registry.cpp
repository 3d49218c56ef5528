#include "fovea/models/registry.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "fovea/core/error.h"
#include "fovea/core/nearest.h"
#include "fovea/models/resnet.h"
#include "fovea/models/vit.h"

namespace fovea::models {
namespace {

using nlohmann::json;

/// A row of the table: how the settings of that name are completed, and how it is built.
struct NamedModel {
  ModelEntry entry;
  std::function<json(const std::string& where, const json& config)> complete;
  std::function<std::shared_ptr<Network>(const std::string& where, const json& config)> build;
};

constexpr const char* kResNetPaper = "He et al. 2016, Deep residual learning for image recognition";
constexpr const char* kSePaper = "Hu et al. 2018, Squeeze-and-excitation networks";
constexpr const char* kVitPaper = "Dosovitskiy et al. 2021, An image is worth 16x16 words";

NamedModel named_vit(const std::string& name, const VitConfig& defaults, const std::string& summary) {
  const auto read = [defaults](const std::string& where, const json& config) {
    VitConfig c = read_config(where, config, defaults);
    check(c);
    return c;
  };
  return {{name, "vit", kVitPaper, summary},
          [read](const auto& where, const json& config) { return write_config(read(where, config)); },
          [read](const auto& where, const json& config) -> std::shared_ptr<Network> {
            return std::make_shared<VisionTransformer>(read(where, config));
          }};
}

NamedModel named_resnet(const ModelEntry& entry, const ResNetShape& shape, const ResNetConfig& defaults) {
  const auto read = [defaults](const std::string& where, const json& config) {
    ResNetConfig c = read_config(where, config, defaults);
    check(c);
    return c;
  };
  return {entry, [read](const auto& where, const json& config) { return write_config(read(where, config)); },
          [read, shape](const auto& where, const json& config) -> std::shared_ptr<Network> {
            return std::make_shared<ResNet>(shape, read(where, config));
          }};
}

struct VitSize {
  const char* name;
  int64_t embed_dim, depth, num_heads;
  /// timm's: patch sizes at 224, and which of them it has at 384 too.
  std::vector<int64_t> patches, patches_384;
};

// Table 1 of the paper (base, large); tiny and small are those of Touvron et al. 2021, DeiT, table 1. The
// first patch size is what the short form means.
const std::vector<VitSize>& vit_sizes() {
  static const std::vector<VitSize> sizes = {{"tiny", 192, 12, 3, {16}, {16}},
                                             {"small", 384, 12, 6, {16, 32, 8}, {16, 32}},
                                             {"base", 768, 12, 12, {16, 32, 8}, {16, 32}},
                                             {"large", 1024, 24, 16, {16, 32, 14}, {16, 32}}};
  return sizes;
}

void add_vits(std::vector<NamedModel>& all) {
  const auto add = [&](const VitSize& size, int64_t patch, int64_t image) {
    VitConfig c;
    c.embed_dim = size.embed_dim, c.depth = size.depth, c.num_heads = size.num_heads;
    c.patch_size = {patch, patch};
    c.img_size = {image, image};
    const std::string p = std::to_string(patch), i = std::to_string(image);
    all.push_back(named_vit(std::string("vit_") + size.name + "_patch" + p + "_" + i, c,
                            std::string("ViT ") + size.name + ", patches of " + p + ", images of " + i));
  };
  for (const auto& size : vit_sizes()) {
    for (int64_t patch : size.patches) add(size, patch, 224);
    for (int64_t patch : size.patches_384) add(size, patch, 384);
  }
}

void add_imagenet_resnets(std::vector<NamedModel>& all) {
  for (const bool se : {false, true}) {
    for (const int64_t depth : {18, 34, 50, 101, 152}) {
      ResNetConfig c;
      if (se) c.attention_block = "se";
      const std::string n = std::to_string(depth);
      all.push_back(named_resnet({(se ? "seresnet" : "resnet") + n, "resnet", se ? kSePaper : kResNetPaper,
                                  (se ? "SE-ResNet-" : "ResNet-") + n + ", ImageNet form"},
                                 imagenet_resnet(depth), c));
    }
  }
}

NamedModel named_cifar(int64_t depth, bool plain) {
  ResNetConfig c;
  c.num_classes = 10;
  c.img_size = {32, 32};
  const std::string n = std::to_string(depth);
  return named_resnet({(plain ? "plain" : "resnet") + n, "resnet", kResNetPaper,
                       (plain ? "Plain network of depth " : "ResNet-") + n + ", CIFAR form" +
                           (plain ? ", no shortcuts" : ", shortcuts without parameters")},
                      cifar_resnet(depth, plain ? nn::Shortcut::none : nn::Shortcut::pad), c);
}

void add_cifar_resnets(std::vector<NamedModel>& all) {
  for (const int64_t depth : {20, 32, 44, 56, 110, 1202}) all.push_back(named_cifar(depth, false));
  for (const int64_t depth : {20, 32, 44, 56}) all.push_back(named_cifar(depth, true));
}

// The two of the demo: small enough to be trained on Fashion-MNIST in minutes.
void add_fashion(std::vector<NamedModel>& all) {
  ResNetShape shape;
  shape.layers = {1, 1, 1};
  shape.planes = {32, 64, 128};
  shape.imagenet = false;
  shape.stem_stride = 2;
  ResNetConfig resnet;
  resnet.num_classes = 10, resnet.in_chans = 1, resnet.reduction = 8;
  resnet.img_size = {28, 28};
  resnet.attention_block = "se";
  all.push_back(named_resnet(
      {"fashion_se_resnet", "resnet", kSePaper, "SE-ResNet of the demo: 3 blocks, 314k parameters"}, shape,
      resnet));
  VitConfig vit;
  vit.num_classes = 10, vit.in_chans = 1;
  vit.img_size = {28, 28};
  vit.patch_size = {7, 7};
  vit.embed_dim = 96, vit.depth = 4, vit.num_heads = 3, vit.mlp_ratio = 2.0;
  all.push_back(named_vit("fashion_vit", vit, "ViT of the demo: 4 blocks, 307k parameters"));
}

const std::vector<NamedModel>& table() {
  static const std::vector<NamedModel> table = [] {
    std::vector<NamedModel> all;
    add_vits(all);
    add_imagenet_resnets(all);
    add_cifar_resnets(all);
    add_fashion(all);
    return all;
  }();
  return table;
}

// `vit_tiny`, `vit_tiny_patch16` -> the first listed name that goes on with `_patch` or `_`; otherwise as it
// is.
std::string expand_short_form(const std::string& name) {
  if (name.rfind("vit_", 0) != 0) return name;
  for (const auto& model : table()) {
    if (model.entry.name == name) return name;
  }
  for (const auto& model : table()) {
    if (model.entry.name.rfind(name + "_", 0) == 0) return model.entry.name;
  }
  return name;
}

// resnet26, plain110, ...: any depth 6n + 2 that the table does not list.
std::optional<NamedModel> unlisted_cifar(const std::string& name) {
  for (const bool plain : {false, true}) {
    const std::string prefix = plain ? "plain" : "resnet";
    if (name.rfind(prefix, 0) != 0) continue;
    int64_t depth = 0;
    const char *begin = name.data() + prefix.size(), *end = name.data() + name.size();
    const auto [rest, error] = std::from_chars(begin, end, depth);
    const bool whole = error == std::errc() && rest == end && *begin != '0';
    if (whole && depth >= 8 && depth <= 100'000 && depth % 6 == 2) return named_cifar(depth, plain);
  }
  return std::nullopt;
}

NamedModel find_model(const std::string& name) {
  const std::string full = expand_short_form(name);
  std::vector<std::string> names;
  for (const auto& model : table()) {
    if (model.entry.name == full) return model;
    names.push_back(model.entry.name);
  }
  for (const auto& size : vit_sizes()) names.push_back(std::string("vit_") + size.name);
  if (auto model = unlisted_cifar(name)) return *model;
  throw usage_error("model", "unknown model '" + name + "'. " +
                                 suggest_name(name, names, "`fovea list models` shows all."));
}

}  // namespace

const std::vector<ModelEntry>& model_entries() {
  static const std::vector<ModelEntry> entries = [] {
    std::vector<ModelEntry> all;
    for (const auto& model : table()) all.push_back(model.entry);
    return all;
  }();
  return entries;
}

std::string resolve_model_name(const std::string& name) { return find_model(name).entry.name; }

json model_config(const std::string& name, const json& config) {
  const NamedModel model = find_model(name);
  return model.complete(model.entry.name, config);
}

json settings_of(json model) {
  model.erase("name");
  return model;
}

std::shared_ptr<Network> make_model(const std::string& name, const json& config) {
  const NamedModel model = find_model(name);
  return model.build(model.entry.name, config);
}

std::shared_ptr<ImageNetwork> make_image_model(const std::string& name, const json& config) {
  auto network = std::dynamic_pointer_cast<ImageNetwork>(make_model(name, config));
  if (!network) {
    throw usage_error("model", "the model must take images; found '" + name + "'. Choose another.");
  }
  return network;
}

}  // namespace fovea::models
