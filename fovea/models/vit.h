#pragma once
#include <memory>
#include <string>
#include <vector>

#include "fovea/models/config.h"
#include "fovea/models/network.h"
#include "fovea/nn/block/transformer_block.h"

namespace fovea::models {

/// Settings of a vision transformer, with timm's names and defaults (ViT-B/16).
struct VitConfig {
  /// 0 classes: no head, the network gives the features that it would read.
  int64_t num_classes = 1000, in_chans = 3;
  /// Images have exactly this size. Patches that do not fit whole are left out, as timm does.
  ImageSize img_size;
  ImageSize patch_size{16, 16};
  int64_t embed_dim = 768, depth = 12, num_heads = 12;
  double mlp_ratio = 4.0;
  bool qkv_bias = true, class_token = true;
  /// `token`: the head reads the class token; `avg`: the mean of the patches, normalised after it (fc_norm).
  std::string global_pool = "token";
  /// Dropout before the head, after position embedding, in MLP and projection, of attention weights;
  /// stochastic depth of the last block (linear from 0 at the first). All in [0, 1).
  double drop_rate = 0.0, pos_drop_rate = 0.0, proj_drop_rate = 0.0, attn_drop_rate = 0.0,
         drop_path_rate = 0.0;
  /// Attention mechanism of all layers.
  std::string attention = "softmax";
  /// Position scheme, as nn::parse_position() reads it. The learned one is timm's, with its key `pos_embed`;
  /// of others the parameters stand under `position`, or under `attn.position` where each layer has its own.
  std::string position = "learned";

  template <class Visitor>
  static void fields(VitConfig& c, Visitor&& visit) {
    visit("num_classes", c.num_classes);
    visit("in_chans", c.in_chans);
    visit("img_size", c.img_size);
    visit("patch_size", c.patch_size);
    visit("embed_dim", c.embed_dim);
    visit("depth", c.depth);
    visit("num_heads", c.num_heads);
    visit("mlp_ratio", c.mlp_ratio);
    visit("qkv_bias", c.qkv_bias);
    visit("class_token", c.class_token);
    visit("global_pool", c.global_pool);
    visit("drop_rate", c.drop_rate);
    visit("pos_drop_rate", c.pos_drop_rate);
    visit("proj_drop_rate", c.proj_drop_rate);
    visit("attn_drop_rate", c.attn_drop_rate);
    visit("drop_path_rate", c.drop_path_rate);
    visit("attention", c.attention);
    visit("position", c.position);
  }
};

/// Throws fovea::Error (usage) if a value is out of range or values do not fit together.
void check(const VitConfig& config);

/// Cuts images into patches and embeds each.   (B, C, H, W) -> (B, rows columns, embed_dim). Key `proj`.
class PatchEmbedImpl : public torch::nn::Module {
 public:
  explicit PatchEmbedImpl(const VitConfig& config);
  at::Tensor forward(const at::Tensor& images);

 private:
  nn::Conv2d proj_{nullptr};
};
TORCH_MODULE(PatchEmbed);

/// Vision transformer with timm's state-dict keys and initialisation.
/// images (B, C, H, W) -> logits (B, classes).
/// Source: Dosovitskiy et al. 2021, An image is worth 16x16 words, 3.1.
class VisionTransformer : public ImageNetwork {
 public:
  explicit VisionTransformer(const VitConfig& config);

  std::vector<InputSpec> inputs() const override;
  at::Tensor forward(const at::Tensor& images) override;
  /// The last block's first norm: what follows mixes no tokens into one another but through attention to the
  /// class token, so this is the last place where every patch still acts on the output.
  const torch::nn::Module& cam_layer() const override;
  TokenGrid token_grid() const override;

 protected:
  bool fixed_size() const override { return true; }

 private:
  at::Tensor embed(const at::Tensor& images);
  void place();
  void init_weights();

  VitConfig config_;
  TokenGrid grid_;
  PatchEmbed patch_embed_{nullptr};
  at::Tensor cls_token_;
  std::shared_ptr<nn::Position> position_;
  nn::Dropout pos_drop_{nullptr}, head_drop_{nullptr};
  std::vector<nn::TransformerBlock> blocks_;
  /// norm over tokens, or fc_norm over their mean.
  nn::LayerNorm norm_{nullptr};
  nn::Linear head_{nullptr};
};

}  // namespace fovea::models
