#include "fovea/tasks/classify.h"

#include <ATen/Context.h>

#include "fovea/core/error.h"
#include "fovea/data/loader.h"
#include "fovea/data/transform.h"
#include "fovea/models/registry.h"
#include "fovea/tasks/classify_config.h"
#include "fovea/train/run_folder.h"

namespace fovea::tasks {
namespace {

using nlohmann::json;

std::shared_ptr<data::Loader> train_loader(const ResolvedClassify& resolved,
                                           const train::TrainConfig& config) {
  const DataSettings settings = data_settings(resolved.config["data"]);
  data::LoaderOptions options;
  options.batch_size = config.batch_size;
  options.seed = static_cast<uint64_t>(config.seed);
  options.drop_last = true;  // A batch of one sample has no variance for a batch norm.
  options.workers = settings.workers;
  options.prefetch = settings.prefetch;
  options.transform = data::make_transform(settings.transform);
  options.mean = settings.mean;
  options.std = settings.std;
  options.mixup_alpha = settings.mixup_alpha;
  options.cutmix_alpha = settings.cutmix_alpha;
  options.num_classes = resolved.config["model"]["num_classes"].get<int64_t>();
  return std::make_shared<data::Loader>(resolved.splits.train, options);
}

}  // namespace

train::TrainResult train_classify(const ClassifyRun& run) {
  const ResolvedClassify resolved = resolve_with_data(run.config);
  train::TrainerParts parts;
  parts.config = training_keys(resolved.config);
  parts.run_config = resolved.config;
  // Before anything is computed: a folder that cannot be used should cost nothing.
  train::RunFolder folder(run.output, {run.resume, parts.config.keep_checkpoints});
  at::manual_seed(static_cast<uint64_t>(parts.config.seed));
  const json& model = resolved.config["model"];
  parts.model = models::make_image_model(model["name"], models::settings_of(model));
  parts.train = train_loader(resolved, parts.config);
  if (resolved.splits.val) {
    parts.val =
        evaluation_loader(resolved.splits.val, preprocessing_from_json(resolved.config["preprocessing"]),
                          parts.config.batch_size);
  }
  return train::Trainer(std::move(parts), folder, run.callbacks).run(run.stop);
}

}  // namespace fovea::tasks
