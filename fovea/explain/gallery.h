#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "fovea/io/image.h"

namespace fovea::explain {

/// A class and its probability in [0, 1].
struct ClassScore {
  std::string name;
  double probability = 0;
};

/// One heat map beside the image.
struct MapView {
  std::string method;  ///< as shown: "Attention rollout"
  at::Tensor map;      ///< (h, w) in [0, 1], any resolution
  double low = 0, high = 1;
  std::string note;  ///< one short line: the layer, or a self-check that failed; may be empty
};

/// Small maps on demand: rows are layers, columns heads (one column without heads).
struct MapGrid {
  std::string title;
  std::vector<std::string> rows, columns;
  std::vector<at::Tensor> maps;  ///< row-major, (h, w) in [0, 1] each
};

/// What one model says about an image.
struct ModelView {
  std::string model;
  std::vector<ClassScore> scores;  ///< most probable first
  std::vector<MapView> maps;
  std::vector<MapGrid> grids;
};

/// An image with every model's view of it.
struct GalleryItem {
  std::string name;  ///< the file's name, or the index in the test set
  io::Image image;
  std::string label;  ///< the true class; empty when unknown
  std::vector<ModelView> views;
};

/// True when the label is known and a model's first class is another.
bool has_error(const GalleryItem& item);

/// The items as cards: image, true label, and for each model its prediction with probabilities and its heat
/// maps, grids folded away. With labels, buttons show all, the right or the wrong ones only. A slider sets
/// how much of the image shows through. All text is escaped, pictures are inline PNGs of at most 160 pixels a
/// side. Throws fovea::Error (usage) when a grid's maps are not rows x columns.
std::string gallery_html(const std::vector<GalleryItem>& items);

}  // namespace fovea::explain
