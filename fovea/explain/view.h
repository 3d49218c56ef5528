#pragma once
// From a network and an image to what a gallery shows.
#include <string>
#include <vector>

#include "fovea/explain/explainer.h"
#include "fovea/explain/gallery.h"

namespace fovea::explain {

struct ViewOptions {
  std::string title;                     ///< the model's name as shown
  std::vector<std::string> class_names;  ///< missing ones show as their number
  /// Explainers as make_explainer takes them; empty: rollout and gradcam where attention joins the image's
  /// places, else gradcam.
  std::vector<std::string> methods;
  /// The class to explain; -1: the predicted one.
  int64_t target = -1;
  /// Classes with the highest probability that are kept.
  int64_t top = 3;
  /// Also make the map of every layer: and head, for attention; as Grad-CAM otherwise.
  bool grids = true;
};

/// A method's name as shown to readers: "rollout" -> "Attention rollout". Unknown names stay.
std::string method_title(const std::string& method);

/// The most probable classes, softmax of the logits, most probable first.   logits (classes)
std::vector<ClassScore> top_scores(const at::Tensor& logits, const std::vector<std::string>& class_names,
                                   int64_t top);

/// What a gallery shows of a network and an image, and the explanations it was made of, in the order of
/// `methods`.
struct ImageView {
  ModelView view;
  std::vector<Explanation> explanations;
};

/// Prediction and heat maps of one image (1, C, H, W), normalised as in training. Errors as
/// Explainer::explain.
ImageView view_image(models::ImageNetwork& network, const at::Tensor& image, const ViewOptions& options);

/// A finished explanation as a map of a gallery, noted with its layer and its self-check when that failed.
MapView map_view(const Explanation& explanation);

/// Attention of the summary token for every layer and head, each map scaled to its own range.
MapGrid attention_grid(models::ImageNetwork& network, const at::Tensor& image);

/// Grad-CAM at every layer of the CAM layer's kind.
MapGrid grad_cam_grid(models::ImageNetwork& network, const at::Tensor& image, int64_t target);

}  // namespace fovea::explain
