#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <vector>

namespace fovea::train {

/// Precision, recall and F1, each in [0, 1]. A ratio 0 / 0 is 0 (scikit-learn's zero_division = 0).
struct PrecisionRecall {
  double precision = 0, recall = 0, f1 = 0;
};

/// What a classifier achieved on n samples of `classes` classes. Equal to scikit-learn's figures to 1e-9.
struct ClassificationMetrics {
  int64_t n = 0, classes = 0;
  /// Percent of samples whose label is the first, or among the first min(5, classes), by score. Of equal
  /// scores the lower class comes first, so that top1 is the diagonal's share of the confusion matrix.
  double top1 = 0, top5 = 0;
  /// Mean cross entropy in nats. +infinity when a label has logit -infinity.
  double loss = 0;
  /// (classes, classes), row = label, column = prediction, row-major; counts.
  std::vector<int64_t> confusion;
  /// By class; a class that never occurs has zeros.
  std::vector<PrecisionRecall> per_class;
  /// Mean over the classes that occur among labels or predictions (scikit-learn's default choice of labels).
  PrecisionRecall macro;
  /// From the summed counts; with one label a sample all three are the accuracy.
  PrecisionRecall micro;
  /// Area under the ROC curve of each class against the rest; NaN where no sample, or every sample, is of the
  /// class.
  std::vector<double> roc_auc_per_class;
  /// Two classes: that of class 1. More: the mean over all classes, NaN when one is NaN, as scikit-learn's
  /// roc_auc_score(multi_class="ovr", average="macro", labels=range(classes)). NaN when it was not asked for.
  double roc_auc = 0;
};

/// Whether top-5 says anything: among five classes or fewer it is 100 whatever the network does.
inline bool has_top5(int64_t classes) { return classes > 5; }

/// The object that `fovea eval --json` and metrics.jsonl show; NaN becomes null.
nlohmann::ordered_json to_json(const ClassificationMetrics& metrics);

struct MetricOptions {
  int64_t classes = 0;  ///< >= 2
  /// Scores are logits (softmax is taken here, in double) or probabilities (rows sum to 1; the cross entropy
  /// clips them to [2.2e-16, 1 - 2.2e-16] as scikit-learn's log_loss does).
  bool probabilities = false;
  /// Keeps every probability, 8 classes bytes a sample, and sorts them at the end.
  bool roc_auc = true;
};

/// Gathers the predictions of many batches.   add(), merge() in any order, then result().
class MetricAccumulator {
 public:
  /// Throws Error (usage) when classes < 2.
  explicit MetricAccumulator(const MetricOptions& options);

  /// scores (B, classes) of any floating type, labels (B) int64.
  /// Throws Error: usage for a wrong shape or type, data for a label outside 0 ... classes - 1, numeric for a
  /// NaN among the scores or a row of logits whose softmax is not defined (+infinity, or -infinity
  /// throughout); nothing is added then.
  void add(const at::Tensor& scores, const at::Tensor& labels);

  /// Adds what another accumulator of the same options gathered. Throws Error (usage) when they differ.
  void merge(const MetricAccumulator& other);

  int64_t n() const { return static_cast<int64_t>(labels_.size()); }

  /// O(n classes log n) time with ROC-AUC. Throws Error (data) when nothing was added.
  ClassificationMetrics result() const;

 private:
  MetricOptions options_;
  double loss_sum_ = 0;
  int64_t top5_ = 0;
  std::vector<int64_t> confusion_;
  std::vector<int64_t> labels_;
  std::vector<double> probabilities_;  // (n, classes), empty without roc_auc
};

}  // namespace fovea::train
