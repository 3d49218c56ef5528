#include "fovea/data/batch_maker.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "fovea/core/ceil_div.h"
#include "fovea/core/error.h"
#include "fovea/data/mix.h"

namespace fovea::data {
namespace {

// What random numbers are for; each purpose has its own stream of an epoch.
constexpr uint32_t kOrder = 0, kAugment = 1, kMix = 2, kPurposes = 4;

// The loader's own key, so that others who draw from the same seed draw other numbers.
uint64_t loader_key(uint64_t seed) {
  const auto bits = philox(seed, {0x6c6f6164, 0, 0, 0});
  return uint64_t{bits[0]} << 32 | bits[1];
}

void check_mixing(const LoaderOptions& options) {
  for (const double alpha : {options.mixup_alpha, options.cutmix_alpha}) {
    if (std::isfinite(alpha) && alpha >= 0) continue;
    throw usage_error(
        "loader",
        fmt::format("mixup_alpha and cutmix_alpha must be finite and not negative; found {}.", alpha));
  }
}

void check_statistics(const std::vector<double>& values, int64_t channels, const char* name, bool positive) {
  const auto wrong = [&](double x) { return !std::isfinite(x) || (positive && x <= 0); };
  if (static_cast<int64_t>(values.size()) == channels && std::none_of(values.begin(), values.end(), wrong))
    return;
  throw usage_error("loader", fmt::format("{} must be {} finite{} numbers, one a channel; found [{}].", name,
                                          channels, positive ? " positive" : "", fmt::join(values, ", ")));
}

void check_counts(const LoaderOptions& options) {
  const auto require = [](int64_t value, int64_t least, const char* name) {
    if (value >= least) return;
    throw usage_error("loader", fmt::format("{} must be at least {}; found {}.", name, least, value));
  };
  require(options.batch_size, 1, "batch_size");
  require(options.workers, 0, "workers");
  require(options.prefetch, 1, "prefetch");
}

Error shape_error(const std::string& where, std::array<int64_t, 3> wanted, std::array<int64_t, 3> found) {
  return data_error(
      "loader", fmt::format("{}: the images of a batch must have one shape; found {}, others have {}. Set "
                            "img_size, or add resize or random_resized_crop to the augmentations.",
                            where, fmt::join(found, " x "), fmt::join(wanted, " x ")));
}

}  // namespace

BatchMaker::BatchMaker(std::shared_ptr<const Dataset> dataset, LoaderOptions options)
    : dataset_(std::move(dataset)), options_(std::move(options)), key_(loader_key(options_.seed)) {
  check_counts(options_);
  check_mixing(options_);
  const int64_t n = dataset_->size(), size = options_.batch_size;
  batches_ = options_.drop_last ? n / size : ceil_div(n, size);
  if (batches_ == 0) {
    throw data_error(
        "loader", fmt::format("an epoch must have at least one batch; found {} images for batches of {}{}. "
                              "Set batch_size to {} or less.",
                              n, size, options_.drop_last ? ", the last one dropped" : "", n));
  }
  const auto classes = static_cast<int64_t>(dataset_->class_names().size());
  if (options_.num_classes == 0) options_.num_classes = classes;
  if (options_.num_classes < classes) {
    throw usage_error("loader", fmt::format("num_classes must be at least the set's {} classes; found {}.",
                                            classes, options_.num_classes));
  }
  channels_ = dataset_->image_shape()[0];
  if (options_.transform) channels_ = options_.transform->output_channels(channels_);
  if (options_.mean.empty()) options_.mean.assign(channels_, 0.0);
  if (options_.std.empty()) options_.std.assign(channels_, 1.0);
  check_statistics(options_.mean, channels_, "mean", false);
  check_statistics(options_.std, channels_, "std", true);
  normalised_.resize(channels_);
  for (int64_t c = 0; c < channels_; ++c) {
    for (int x = 0; x < 256; ++x) {
      normalised_[c][x] = static_cast<float>((x / 255.0 - options_.mean[c]) / options_.std[c]);
    }
  }
}

Random BatchMaker::random(int64_t epoch, uint32_t purpose, uint64_t index) const {
  return Random(key_, static_cast<uint32_t>(epoch) * kPurposes + purpose, index);
}

BatchMaker::Order BatchMaker::order(int64_t epoch) const {
  if (!options_.shuffle) return nullptr;
  // Held while the permutation is drawn: other workers would only draw the same one.
  const std::lock_guard lock(order_mutex_);
  auto& [known, order] = orders_[epoch % 2];
  if (!order || known != epoch) {
    order =
        std::make_shared<const std::vector<int64_t>>(permutation(dataset_->size(), random(epoch, kOrder, 0)));
    known = epoch;
  }
  return order;
}

std::vector<int64_t> BatchMaker::samples_of(BatchPosition position) const {
  const int64_t begin = position.batch * options_.batch_size;
  const int64_t end = std::min(begin + options_.batch_size, dataset_->size());
  const Order order = this->order(position.epoch);
  std::vector<int64_t> samples(end - begin);
  for (int64_t i = begin; i < end; ++i) samples[i - begin] = order ? (*order)[i] : i;
  return samples;
}

Planes BatchMaker::read(int64_t sample, int64_t epoch) const {
  if (!options_.transform) {
    if (const uint8_t* pixels = dataset_->pixels(sample)) return Planes(pixels, dataset_->image_shape());
  }
  at::Tensor image = dataset_->get(sample).image;
  if (!options_.transform) return Planes(image);
  Random own = random(epoch, kAugment, static_cast<uint64_t>(sample));
  try {
    return Planes(options_.transform->apply(image, own));
  } catch (const Error& error) {
    throw Error(error.kind(), "loader", fmt::format("{}: {}", dataset_->describe(sample), error.what()));
  }
}

void BatchMaker::normalise(const Planes& image, float* out) const {
  for (int64_t c = 0; c < channels_; ++c) {
    const float* table = normalised_[c].data();
    const uint8_t* pixels = image.plane(c);
    for (int64_t i = 0; i < image.area(); ++i) *out++ = table[pixels[i]];
  }
}

Batch BatchMaker::make(BatchPosition position, const std::function<bool()>& cancelled) const {
  Batch batch;
  batch.epoch = position.epoch;
  batch.index = position.batch;
  batch.samples = samples_of(position);
  const auto n = static_cast<int64_t>(batch.samples.size());
  batch.labels = at::empty({n}, at::TensorOptions(at::kLong));
  auto* labels = batch.labels.mutable_data_ptr<int64_t>();
  std::array<int64_t, 3> shape{};
  float* out = nullptr;
  for (int64_t i = 0; i < n; ++i) {
    if (cancelled()) return {};
    const int64_t sample = batch.samples[i];
    const Planes image = read(sample, position.epoch);
    const std::array<int64_t, 3> found = {image.channels, image.height, image.width};
    if (i == 0) {
      shape = {channels_, image.height, image.width};
      batch.images = at::empty({n, shape[0], shape[1], shape[2]}, at::TensorOptions(at::kFloat));
      out = batch.images.mutable_data_ptr<float>();
    }
    if (found != shape) throw shape_error(dataset_->describe(sample), shape, found);
    normalise(image, out + i * image.size());
    labels[i] = dataset_->label(sample);
  }
  if (options_.mixup_alpha > 0 || options_.cutmix_alpha > 0) {
    Random own = random(position.epoch, kMix, static_cast<uint64_t>(position.batch));
    batch.targets = mix_batch(batch.images, batch.labels,
                              {options_.mixup_alpha, options_.cutmix_alpha, options_.num_classes}, own);
  }
  return batch;
}

}  // namespace fovea::data
