#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "fovea/explain/explainer.h"
#include "fovea/explain/gallery.h"
#include "fovea/tasks/classify.h"

namespace fovea::cli {

struct ViewOptions {
  /// Texts as explain::make_explainer takes them, NAME[:key=value,...].
  std::vector<std::string> methods;
  /// The class to explain; -1: the predicted one.
  int64_t target = -1;
  /// Small maps of every layer and head too.
  bool grids = true;
};

/// What a network says about one image, with the explanations behind the maps.
struct ImageView {
  explain::ModelView view;
  std::vector<explain::Explanation> explanations;
};

/// The most probable classes of one image (1, C, H, W), at most `top`, most probable first.
std::vector<explain::ClassScore> class_scores(const tasks::Classifier& classifier, const at::Tensor& input,
                                              int64_t top = 5);

/// The methods that suit the network: rollout and gradcam where attention joins the image's places, else
/// gradcam.
std::vector<std::string> suitable_methods(const tasks::Classifier& classifier, const at::Tensor& input);

/// `name` heads the view. Errors as Explainer::explain().
ImageView view_image(const tasks::Classifier& classifier, const at::Tensor& input, const std::string& name,
                     const ViewOptions& options);

/// What the network saw: the resized, cut image, from its normalised form (1, C, H, W).
io::Image seen_image(const tasks::Classifier& classifier, const at::Tensor& input);

/// `model.name` of the configuration.
std::string model_name(const tasks::Classifier& classifier);

}  // namespace fovea::cli
