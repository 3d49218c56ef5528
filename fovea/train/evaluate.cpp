#include "fovea/train/evaluate.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/softmax.h>

#include <optional>

#include "fovea/core/error.h"
#include "fovea/data/loader.h"
#include "fovea/models/network.h"

namespace fovea::train {
namespace {

/// Evaluation mode while it lives.
class EvalScope {
 public:
  explicit EvalScope(torch::nn::Module& model) : model_(model), training_(model.is_training()) {
    model.eval();
  }
  ~EvalScope() { model_.train(training_); }
  EvalScope(const EvalScope&) = delete;
  EvalScope& operator=(const EvalScope&) = delete;

 private:
  torch::nn::Module& model_;
  bool training_;
};

}  // namespace

ClassificationMetrics evaluate(models::ImageNetwork& model, data::Loader& loader, bool roc_auc) {
  const at::NoGradGuard no_grad;
  const EvalScope eval(model);
  std::optional<MetricAccumulator> metrics;
  loader.seek(0, 0);
  while (const std::optional<data::Batch> batch = loader.next()) {
    const at::Tensor logits = model.forward(batch->images).to(at::kFloat);
    if (!metrics) {
      MetricOptions options;
      options.classes = logits.size(1);
      options.roc_auc = roc_auc;
      metrics.emplace(options);
    }
    metrics->add(logits, batch->labels);
  }
  if (!metrics) throw data_error("evaluate", "there must be at least one image; found none.");
  return metrics->result();
}

at::Tensor predict(models::ImageNetwork& model, const at::Tensor& images) {
  const at::NoGradGuard no_grad;
  const EvalScope eval(model);
  return at::softmax(model.forward(images).to(at::kFloat), 1);
}

}  // namespace fovea::train
