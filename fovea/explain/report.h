#pragma once
#include <optional>
#include <string>
#include <vector>

#include "fovea/explain/charts.h"
#include "fovea/explain/gallery.h"

namespace fovea::explain {

/// What a report shows of one trained model. Empty parts are left out of the page.
struct ModelReport {
  std::string title;                 ///< as shown: "SE-ResNet"
  std::string name;                  ///< registry name: "fashion_se_resnet"
  std::optional<double> top1, top5;  ///< percent
  std::optional<double> loss;
  std::optional<double> seconds;  ///< of training
  std::optional<int64_t> parameters;
  std::optional<int64_t> epochs;
  std::vector<LineChart> charts;
  Confusion confusion;  ///< on the test set
};

/// A page about one or more trained models.
struct Report {
  std::string title;
  std::string subtitle;
  std::vector<ModelReport> models;
  /// What stands above the gallery: how its images were chosen.
  std::string gallery_note;
  std::vector<GalleryItem> gallery;
  /// The command that makes the page again, and versions.
  std::string footer;
};

/// The report as one self-contained HTML file (render_page): a table of results, curves, confusion matrices
/// and the gallery. Throws as confusion_html and gallery_html do.
std::string render_report(const Report& report);

}  // namespace fovea::explain
