#include "fovea/train/metrics.h"

#include <ATen/ops/isnan.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/softmax.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "fovea/core/error.h"
#include "fovea/train/roc_auc.h"

namespace fovea::train {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kTop = 5;

std::string shape_text(const at::Tensor& tensor) {
  std::ostringstream text;
  text << tensor.sizes();
  return text.str();
}

void check_shapes(const at::Tensor& scores, const at::Tensor& labels, int64_t classes) {
  if (scores.dim() == 2 && scores.size(1) == classes && scores.is_floating_point() && labels.dim() == 1 &&
      labels.size(0) == scores.size(0) && labels.scalar_type() == at::kLong) {
    return;
  }
  throw usage_error("metrics",
                    fmt::format("scores are (B, {}) of a floating type and labels (B) int64; found {} {} and "
                                "{} {}.",
                                classes, shape_text(scores), c10::toString(scores.scalar_type()),
                                shape_text(labels), c10::toString(labels.scalar_type())));
}

void check_labels(const int64_t* labels, int64_t n, int64_t classes) {
  for (int64_t i = 0; i < n; ++i) {
    if (labels[i] >= 0 && labels[i] < classes) continue;
    throw data_error("metrics",
                     fmt::format("labels are 0 ... {}; found {} at place {} of the batch. Set num_classes to "
                                 "what the data has.",
                                 classes - 1, labels[i], i));
  }
}

void check_numbers(const at::Tensor& scores, const at::Tensor& probabilities) {
  const at::Tensor bad = at::isnan(probabilities).any(1);
  if (!bad.any().item<bool>()) return;
  const int64_t row = bad.nonzero()[0].item<int64_t>();
  throw numeric_error("metrics",
                      fmt::format("scores must have a softmax; found {} at place {} of the batch.",
                                  scores[row].isnan().any().item<bool>() ? "NaN" : "infinity", row));
}

// Scores above the label's, and equal ones of a lower class.
int64_t rank_of(const double* scores, int64_t classes, int64_t label) {
  int64_t rank = 0;
  for (int64_t c = 0; c < classes; ++c)
    rank += scores[c] > scores[label] || (scores[c] == scores[label] && c < label);
  return rank;
}

double ratio(int64_t part, int64_t whole) { return whole == 0 ? 0.0 : static_cast<double>(part) / whole; }

// F1 = 2 tp / (labelled + predicted): the harmonic mean without its division by zero.
PrecisionRecall from_counts(int64_t hits, int64_t predicted, int64_t labelled) {
  return {ratio(hits, predicted), ratio(hits, labelled), ratio(2 * hits, predicted + labelled)};
}

void add_precision_recall(ClassificationMetrics& metrics) {
  const int64_t classes = metrics.classes;
  int64_t occurring = 0, hits = 0;
  for (int64_t c = 0; c < classes; ++c) {
    int64_t predicted = 0, labelled = 0;
    for (int64_t other = 0; other < classes; ++other) {
      labelled += metrics.confusion[c * classes + other];
      predicted += metrics.confusion[other * classes + c];
    }
    const int64_t hit = metrics.confusion[c * classes + c];
    const PrecisionRecall one = from_counts(hit, predicted, labelled);
    metrics.per_class.push_back(one);
    hits += hit;
    if (predicted + labelled == 0) continue;
    ++occurring;
    metrics.macro.precision += one.precision;
    metrics.macro.recall += one.recall;
    metrics.macro.f1 += one.f1;
  }
  metrics.macro.precision /= occurring;
  metrics.macro.recall /= occurring;
  metrics.macro.f1 /= occurring;
  metrics.micro = from_counts(hits, metrics.n, metrics.n);
}

void add_roc_auc(ClassificationMetrics& metrics, const std::vector<double>& probabilities,
                 const std::vector<int64_t>& labels) {
  const int64_t n = metrics.n, classes = metrics.classes;
  std::vector<double> scores(n);
  std::vector<bool> positive(n);
  double sum = 0;
  for (int64_t c = 0; c < classes; ++c) {
    for (int64_t i = 0; i < n; ++i) {
      scores[i] = probabilities[i * classes + c];
      positive[i] = labels[i] == c;
    }
    metrics.roc_auc_per_class.push_back(roc_auc(scores, positive));
    sum += metrics.roc_auc_per_class.back();
  }
  metrics.roc_auc = classes == 2 ? metrics.roc_auc_per_class[1] : sum / classes;
}

nlohmann::ordered_json to_json(const PrecisionRecall& value) {
  return {{"precision", value.precision}, {"recall", value.recall}, {"f1", value.f1}};
}

}  // namespace

MetricAccumulator::MetricAccumulator(const MetricOptions& options) : options_(options) {
  if (options.classes < 2) {
    throw usage_error("metrics", fmt::format("classes must be 2 or more; found {}.", options.classes));
  }
  confusion_.assign(options.classes * options.classes, 0);
}

void MetricAccumulator::add(const at::Tensor& scores, const at::Tensor& labels) {
  check_shapes(scores, labels, options_.classes);
  const int64_t n = scores.size(0), classes = options_.classes;
  const at::Tensor raw = scores.detach().to(at::kCPU, at::kDouble).contiguous();
  const at::Tensor truth = labels.to(at::kCPU).contiguous();
  const at::Tensor probabilities = options_.probabilities ? raw : at::softmax(raw, 1);
  // A clip as log_loss does it: a probability of 0 costs 36 nats, not infinity.
  constexpr double eps = std::numeric_limits<double>::epsilon();
  const at::Tensor log_probabilities =
      options_.probabilities ? raw.clamp(eps, 1 - eps).log() : at::log_softmax(raw, 1);
  const auto* label = truth.const_data_ptr<int64_t>();
  check_labels(label, n, classes);
  check_numbers(raw, probabilities);

  const auto* score = raw.const_data_ptr<double>();
  const auto* log_probability = log_probabilities.const_data_ptr<double>();
  for (int64_t i = 0; i < n; ++i) {
    const double* row = score + i * classes;
    ++confusion_[label[i] * classes + (std::max_element(row, row + classes) - row)];
    top5_ += rank_of(row, classes, label[i]) < kTop;
    loss_sum_ -= log_probability[i * classes + label[i]];
  }
  labels_.insert(labels_.end(), label, label + n);
  if (options_.roc_auc) {
    const auto* probability = probabilities.const_data_ptr<double>();
    probabilities_.insert(probabilities_.end(), probability, probability + n * classes);
  }
}

void MetricAccumulator::merge(const MetricAccumulator& other) {
  if (options_.classes != other.options_.classes || options_.probabilities != other.options_.probabilities ||
      options_.roc_auc != other.options_.roc_auc) {
    throw usage_error("metrics", "merge takes an accumulator of the same options; found others.");
  }
  for (size_t i = 0; i < confusion_.size(); ++i) confusion_[i] += other.confusion_[i];
  loss_sum_ += other.loss_sum_;
  top5_ += other.top5_;
  labels_.insert(labels_.end(), other.labels_.begin(), other.labels_.end());
  probabilities_.insert(probabilities_.end(), other.probabilities_.begin(), other.probabilities_.end());
}

ClassificationMetrics MetricAccumulator::result() const {
  if (labels_.empty()) throw data_error("metrics", "at least one sample is needed; found none.");
  ClassificationMetrics metrics;
  metrics.n = n();
  metrics.classes = options_.classes;
  metrics.confusion = confusion_;
  metrics.loss = loss_sum_ / metrics.n;
  metrics.top5 = 100.0 * top5_ / metrics.n;
  add_precision_recall(metrics);
  int64_t hits = 0;
  for (int64_t c = 0; c < metrics.classes; ++c) hits += confusion_[c * metrics.classes + c];
  metrics.top1 = 100.0 * hits / metrics.n;
  if (options_.roc_auc) {
    add_roc_auc(metrics, probabilities_, labels_);
  } else {
    metrics.roc_auc_per_class.assign(metrics.classes, kNan);
    metrics.roc_auc = kNan;
  }
  return metrics;
}

nlohmann::ordered_json to_json(const ClassificationMetrics& metrics) {
  nlohmann::ordered_json json = {{"top1", metrics.top1},
                                 {"top5", metrics.top5},
                                 {"loss", metrics.loss},
                                 {"n", metrics.n},
                                 {"classes", metrics.classes}};
  json["macro"] = to_json(metrics.macro);
  json["micro"] = to_json(metrics.micro);
  json["roc_auc"] = metrics.roc_auc;
  json["roc_auc_per_class"] = metrics.roc_auc_per_class;
  json["per_class"] = nlohmann::ordered_json::array();
  for (const auto& value : metrics.per_class) json["per_class"].push_back(to_json(value));
  json["confusion"] = nlohmann::ordered_json::array();
  for (int64_t row = 0; row < metrics.classes; ++row) {
    const auto begin = metrics.confusion.begin() + row * metrics.classes;
    json["confusion"].push_back(std::vector<int64_t>(begin, begin + metrics.classes));
  }
  return json;
}

}  // namespace fovea::train
