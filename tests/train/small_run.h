#pragma once
// A network and data small enough that a training takes milliseconds, with every source of randomness.
#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "fovea/core/random.h"
#include "fovea/data/loader.h"
#include "fovea/data/tensor_dataset.h"
#include "fovea/data/transform.h"
#include "fovea/models/network.h"
#include "fovea/nn/block/drop_path.h"
#include "fovea/nn/layers.h"
#include "fovea/train/trainer.h"

namespace fovea::train {

struct SmallNetOptions {
  bool norm = true;
  double dropout = 0.2, drop_path = 0.2;
};

/// Convolution, batch norm, a residual branch with drop path, dropout, linear: (B, 1, 8, 8) -> (B, 3).
class SmallNet : public models::ImageNetwork {
 public:
  explicit SmallNet(const SmallNetOptions& options = {}) {
    conv = register_module("conv", nn::Conv2d(torch::nn::Conv2dOptions(1, 8, 3).padding(1).stride(2)));
    if (options.norm) bn = register_module("bn", nn::BatchNorm2d(8));
    branch = register_module("branch", nn::Conv2d(torch::nn::Conv2dOptions(8, 8, 3).padding(1)));
    drop_path = register_module("drop_path", nn::DropPath(options.drop_path));
    drop = register_module("drop", nn::Dropout(options.dropout));
    head = register_module("head", nn::Linear(8 * 16, 3));
  }

  std::vector<models::InputSpec> inputs() const override {
    return {{"input", {1, 1, 8, 8}, at::kFloat, "an image"}};
  }
  at::Tensor forward(const at::Tensor& images) override {
    at::Tensor x = conv->forward(images);
    if (bn) x = bn->forward(x);
    x = x.relu();
    x = x + drop_path->forward(branch->forward(x));
    return head->forward(drop->forward(x.flatten(1)));
  }
  const torch::nn::Module& cam_layer() const override { return *branch; }
  models::TokenGrid token_grid() const override { return {}; }
  bool fixed_size() const override { return true; }

  nn::Conv2d conv{nullptr}, branch{nullptr};
  nn::BatchNorm2d bn{nullptr};
  nn::DropPath drop_path{nullptr};
  nn::Dropout drop{nullptr};
  nn::Linear head{nullptr};
};

/// `count` noisy images of three classes that differ in brightness of a part.
inline std::shared_ptr<data::Dataset> small_data(int64_t count, uint64_t seed) {
  at::Tensor images = at::empty({count, 1, 8, 8}, at::kByte);
  std::vector<int64_t> labels(count);
  for (int64_t i = 0; i < count; ++i) {
    Random random(seed, 0, static_cast<uint64_t>(i));
    labels[i] = static_cast<int64_t>(random.below(3));
    for (int64_t p = 0; p < 64; ++p) {
      const bool bright = p / 22 == labels[i];
      images[i][0].data_ptr<uint8_t>()[p] = static_cast<uint8_t>(random.below(150) + (bright ? 100 : 0));
    }
  }
  return std::make_shared<data::TensorDataset>(images, labels, std::vector<std::string>{"a", "b", "c"},
                                               "small");
}

struct SmallRunOptions {
  SmallNetOptions net;
  double mixup_alpha = 0.0;
  int workers = 1;
  bool augment = true;
};

/// What a Trainer needs, for flat training keys; 4 batches of 8 an epoch unless `keys` say otherwise.
inline TrainerParts small_parts(const nlohmann::json& keys, const SmallRunOptions& options = {}) {
  TrainerParts parts;
  nlohmann::json all = {{"batch_size", 8}, {"lr", 0.05}, {"threads", 1}};
  all.update(keys);
  parts.config = config_from_json(all);
  parts.run_config = config_to_json(parts.config);
  at::manual_seed(static_cast<uint64_t>(parts.config.seed));
  parts.model = std::make_shared<SmallNet>(options.net);
  data::LoaderOptions loader;
  loader.batch_size = parts.config.batch_size;
  loader.seed = static_cast<uint64_t>(parts.config.seed);
  loader.drop_last = true;
  loader.workers = options.workers;
  loader.mean = {0.5};
  loader.std = {0.3};
  loader.mixup_alpha = options.mixup_alpha;
  if (options.augment) loader.transform = data::make_transform({"random_horizontal_flip"});
  parts.train = std::make_shared<data::Loader>(small_data(35, 1), loader);
  data::LoaderOptions plain;
  plain.batch_size = 16;
  plain.shuffle = false;
  plain.mean = {0.5};
  plain.std = {0.3};
  parts.val = std::make_shared<data::Loader>(small_data(24, 2), plain);
  return parts;
}

}  // namespace fovea::train
