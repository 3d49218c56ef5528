#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/models/network.h"

namespace fovea::explain {

/// A property that a method's result must have, tested on this very result.
struct SelfCheck {
  std::string rule;  ///< in words
  double error = 0;  ///< how far the result is from it, 0 = exact
  bool holds = true;
};

/// Where a network looked: the one result shape of every explainer.
struct Explanation {
  at::Tensor map;  ///< (H, W) of the image, float32 in [0, 1]
  at::Tensor
      values;       ///< (h, w) float32, not normalised, at the method's own resolution (patches, feature map)
  double low = 0;   ///< the value that 0 in `map` stands for
  double high = 0;  ///< the value that 1 in `map` stands for
  std::string method;
  std::string layer;   ///< dotted name of the layer that was looked at; empty when it is the whole network
  int64_t target = 0;  ///< the class that is explained
  double score = 0;    ///< its logit
  std::optional<SelfCheck> check;
};

/// What all explainers can be told; each says in explainer_entries() which of these it reads.
struct ExplainerOptions {
  /// gradcam: dotted name of a module, default cam_layer(). attention: name or number (from 0) of the layer,
  /// default the last. rollout: the layer up to which attention is followed, default the last.
  std::string layer;
  /// One head (from 0), or -1: all, joined by head_fusion.
  int64_t head = -1;
  /// "mean" | "max" | "min" over the heads.
  std::string head_fusion = "mean";
  /// rollout: share of the smallest weights of each layer that is set to 0, in [0, 1).
  double discard_ratio = 0;
  /// integrated_gradients: points on the path, >= 1.
  int64_t steps = 50;
  /// integrated_gradients, occlusion: the value, after normalisation, that stands for 'nothing there'.
  double baseline = 0;
  /// occlusion: side of the covering square in pixels; 0 = a quarter of the image's shorter side.
  int64_t window = 0;
  /// occlusion: its step; 0 = half the window.
  int64_t stride = 0;
  /// integrated_gradients, occlusion: images that pass the network at once, >= 1.
  int64_t batch_size = 16;
};

/// A method that says which places of an image a network's score for a class rests on.
class Explainer {
 public:
  virtual ~Explainer() = default;

  /// Explains the score of class `target` (-1: the class the network predicts) for one image.
  /// image (1, C, H, W), normalised as in training -> Explanation. The network is put into evaluation mode
  /// for the call and left as it was, gradients of its parameters included. Throws fovea::Error: (usage) when
  /// the method does not fit the network (naming those that do), the image is not one image or the class is
  /// out of range; (numeric) when the image or a score is not finite.
  Explanation explain(models::ImageNetwork& network, const at::Tensor& image, int64_t target = -1) const;

  virtual std::string name() const = 0;

 protected:
  /// What a method finds, before normalisation.
  struct Attribution {
    at::Tensor values;       ///< (h, w)
    bool from_zero = false;  ///< 0 means 'nothing' and is shown as 0; otherwise the smallest value is
    std::string layer;
    std::optional<SelfCheck> check;
  };

 private:
  /// The network is in evaluation mode, the image one of (1, C, H, W), target a class; gradients are
  /// recorded.
  virtual Attribution attribute(models::ImageNetwork& network, const at::Tensor& image,
                                int64_t target) const = 0;
};

/// One row of `fovea list explainers`.
struct ExplainerEntry {
  std::string name;
  std::string summary;
  std::string source;                ///< the paper
  std::string fits;                  ///< which networks
  std::vector<std::string> options;  ///< keys of ExplainerOptions that it reads
};

const std::vector<ExplainerEntry>& explainer_entries();

/// The explainer `name`. Throws fovea::Error (usage) with the nearest name when there is none, and when an
/// option is out of range.
std::unique_ptr<Explainer> make_explainer(std::string_view name, const ExplainerOptions& options);

/// The same from one text, NAME[:key=value,...], as in `rollout:head_fusion=max,discard_ratio=0.5`.
/// Throws fovea::Error (usage) on an unknown name, a key that the method does not read or that is given
/// twice, a value of the wrong kind, and another form.
std::unique_ptr<Explainer> make_explainer(std::string_view spec);

/// The method to show first: "rollout" when attention joins the image's places, otherwise "gradcam".
/// Costs one forward pass.
std::string default_explainer(models::ImageNetwork& network, const at::Tensor& image);

}  // namespace fovea::explain
