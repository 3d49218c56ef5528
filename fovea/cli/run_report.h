#pragma once
#include <filesystem>
#include <string>

#include "fovea/explain/report.h"
#include "fovea/tasks/classify.h"
#include "fovea/train/metrics.h"

namespace fovea::cli {

/// A finished training with its figures on the test set.
struct ReportedRun {
  std::filesystem::path folder;
  std::string name;
  /// The set whose test part was measured, NAME[:PATH].
  std::string data;
  tasks::Classifier classifier;
  train::ClassificationMetrics metrics;
};

/// Loads a run and measures it on the test split of `data` (empty: the data of its training).
ReportedRun measure_run(const std::filesystem::path& folder, const std::string& data);

/// Figures, the curves of metrics.jsonl, and the confusion matrix. Throws Error (data) when the run has no
/// log.
explain::ModelReport model_report(const ReportedRun& run);

}  // namespace fovea::cli
