#include "fovea/data/loader.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "fovea/data/mix.h"
#include "fovea/data/subset.h"
#include "tests/data/support.h"
#include "tests/support/errors.h"

namespace fovea::data {
namespace {

using nlohmann::json;

LoaderOptions options_of(int workers) {
  LoaderOptions options;
  options.batch_size = 16;
  options.seed = 7;
  options.workers = workers;
  options.transform = make_transform(json::parse(
      R"([{"random_crop": {"size": 8, "padding": 2}}, "random_horizontal_flip", "rand_augment", "random_erasing"])"));
  options.mean = {0.3, 0.4, 0.5};
  options.std = {0.2, 0.3, 0.4};
  return options;
}

void expect_equal(const Batch& a, const Batch& b) {
  EXPECT_EQ(a.epoch, b.epoch);
  EXPECT_EQ(a.index, b.index);
  EXPECT_EQ(a.samples, b.samples);
  EXPECT_TRUE(at::equal(a.images, b.images)) << a.epoch << " " << a.index;
  EXPECT_TRUE(at::equal(a.labels, b.labels));
  EXPECT_EQ(a.targets.defined(), b.targets.defined());
  if (a.targets.defined() && b.targets.defined()) {
    EXPECT_TRUE(at::equal(a.targets, b.targets));
  }
}

// The batches of so many epochs, one after another.
std::vector<Batch> read_epochs(Loader& loader, int epochs) {
  std::vector<Batch> batches;
  for (int ended = 0; ended < epochs;) {
    if (auto batch = loader.next()) {
      batches.push_back(std::move(*batch));
    } else {
      ++ended;
    }
  }
  return batches;
}

TEST(Loader, BatchesDoNotDependOnTheNumberOfWorkers) {
  const auto set = noise_dataset(100, {3, 8, 8}, 5);
  for (const bool mixed : {false, true}) {
    auto options = options_of(0);
    if (mixed) options.mixup_alpha = options.cutmix_alpha = 0.7;
    Loader alone(set, options);
    const auto expected = read_epochs(alone, 3);
    ASSERT_EQ(expected.size(), 21u);
    for (const int workers : {1, 2, 4}) {
      options.workers = workers;
      Loader loader(set, options);
      const auto batches = read_epochs(loader, 3);
      ASSERT_EQ(batches.size(), expected.size());
      for (size_t i = 0; i < batches.size(); ++i) expect_equal(batches[i], expected[i]);
    }
  }
}

TEST(Loader, SeekEqualsReadingThrough) {
  const auto set = noise_dataset(100, {3, 8, 8}, 5);
  for (const int workers : {0, 2}) {
    Loader loader(set, options_of(workers));
    const auto all = read_epochs(loader, 3);
    for (const auto& [epoch, batch] : {std::pair{2, 3}, {0, 0}, {1, 6}, {0, 5}, {2, 0}}) {
      loader.seek(epoch, batch);
      for (int64_t b = batch; b < 7; ++b) expect_equal(*loader.next(), all[epoch * 7 + b]);
      EXPECT_FALSE(loader.next());
    }
    loader.seek(0, 7);
    EXPECT_FALSE(loader.next());
    expect_equal(*loader.next(), all[7]);
    expect_error(ErrorKind::usage, {"batch be in [0, 7]", "8"}, [&] { loader.seek(0, 8); });
  }
}

TEST(Loader, AnEpochHoldsEveryImageOnceInAnotherOrderEachTime) {
  const auto set = noise_dataset(100, {1, 4, 4}, 5);
  LoaderOptions options;
  options.batch_size = 30;
  Loader loader(set, options);
  EXPECT_EQ(loader.batches_per_epoch(), 4);
  std::set<std::vector<int64_t>> orders;
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::vector<int64_t> order;
    while (auto batch = loader.next()) {
      EXPECT_EQ(batch->epoch, epoch);
      EXPECT_EQ(batch->images.size(0), batch->index == 3 ? 10 : 30);
      order.insert(order.end(), batch->samples.begin(), batch->samples.end());
    }
    EXPECT_EQ(std::set<int64_t>(order.begin(), order.end()).size(), 100u);
    EXPECT_EQ(order.size(), 100u);
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 3u);
  options.drop_last = true;
  EXPECT_EQ(Loader(set, options).batches_per_epoch(), 3);
  options.shuffle = false;
  options.seed = 99;
  EXPECT_EQ(Loader(set, options).next()->samples[29], 29);
}

TEST(Loader, NormalisesPixels) {
  const auto set = noise_dataset(20, {3, 5, 6}, 5);
  LoaderOptions options;
  options.shuffle = false;
  options.mean = {0.3, 0.4, 0.5};
  options.std = {0.2, 0.3, 0.4};
  const Batch batch = *Loader(set, options).next();
  EXPECT_EQ(batch.images.sizes().vec(), (std::vector<int64_t>{20, 3, 5, 6}));
  const float* out = batch.images.const_data_ptr<float>();
  for (int64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(batch.labels.const_data_ptr<int64_t>()[i], i % 5);
    for (int64_t k = 0; k < 90; ++k) {
      const int64_t c = k / 30;
      ASSERT_EQ(*out++, static_cast<float>((set->pixels(i)[k] / 255.0 - options.mean[c]) / options.std[c]));
    }
  }
}

TEST(Loader, RefusesWrongOptions) {
  const auto set = noise_dataset(20, {3, 5, 6}, 5);
  const auto expect_refused = [&](ErrorKind kind, const std::string& part, auto change) {
    LoaderOptions options;
    change(options);
    expect_error(kind, {part}, [&] { Loader loader(set, options); });
  };
  expect_refused(ErrorKind::usage, "batch_size must be at least 1; found 0",
                 [](auto& o) { o.batch_size = 0; });
  expect_refused(ErrorKind::usage, "workers must be at least 0", [](auto& o) { o.workers = -1; });
  expect_refused(ErrorKind::usage, "prefetch must be at least 1", [](auto& o) { o.prefetch = 0; });
  expect_refused(ErrorKind::usage, "mean must be 3 finite numbers", [](auto& o) { o.mean = {0.5}; });
  expect_refused(ErrorKind::usage, "std must be 3 finite positive numbers", [](auto& o) {
    o.std = {1, 0, 1};
  });
  expect_refused(ErrorKind::usage, "std must be 3", [](auto& o) { o.std = {1, std::nan(""), 1}; });
  expect_refused(ErrorKind::usage, "num_classes must be at least the set's 5",
                 [](auto& o) { o.num_classes = 4; });
  expect_refused(ErrorKind::usage, "must be finite and not negative",
                 [](auto& o) { o.mixup_alpha = std::nan(""); });
  expect_refused(ErrorKind::data, "20 images for batches of 64, the last one dropped", [](auto& o) {
    o.batch_size = 64;
    o.drop_last = true;
  });
}

// Images that are read one at a time, slowly or not at all, and may differ in size.
class FaultyDataset : public TensorDataset {
 public:
  FaultyDataset(int64_t n, int64_t bad, int64_t odd = -1)
      : TensorDataset(*noise_dataset(n, {1, 4, 4}, 2)), bad_(bad), odd_(odd) {}
  Sample get(int64_t index) const override {
    if (index == bad_) throw data_error("test", "image " + std::to_string(index) + " is damaged.");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (index == odd_) return {noise(1, 4, 5), 0};
    return TensorDataset::get(index);
  }
  std::string describe(int64_t index) const override { return "photo " + std::to_string(index) + ".png"; }
  const uint8_t* pixels(int64_t) const override { return nullptr; }

 private:
  int64_t bad_, odd_;
};

TEST(Loader, AnErrorArrivesInItsTurnAndTheNextBatchFollows) {
  for (const int workers : {0, 1, 3}) {
    LoaderOptions options;
    options.batch_size = 4;
    options.shuffle = false;
    options.workers = workers;
    Loader loader(std::make_shared<FaultyDataset>(20, 9, 17), options);
    for (int epoch = 0; epoch < 2; ++epoch) {
      EXPECT_EQ(loader.next()->index, 0);
      EXPECT_EQ(loader.next()->index, 1);
      expect_error(ErrorKind::data, {"image 9 is damaged"}, [&] { loader.next(); });
      EXPECT_EQ(loader.next()->index, 3);
      expect_error(ErrorKind::data, {"photo 17.png", "found 1 x 4 x 5, others have 1 x 4 x 4", "img_size"},
                   [&] { loader.next(); });
      EXPECT_FALSE(loader.next());
    }
  }
}

TEST(Loader, AnErrorOfATransformNamesTheImage) {
  LoaderOptions options;
  options.batch_size = 4;
  options.shuffle = false;
  options.transform = make_transform(json::parse(R"([{"random_crop": {"size": 5}}])"));
  Loader loader(std::make_shared<FaultyDataset>(20, -1), options);
  expect_error(ErrorKind::data, {"photo 0.png", "5 x 5 of 4 x 4"}, [&] { loader.next(); });
}

TEST(Loader, EndsWithinOneImageAndKeepsNoMoreThanPrefetch) {
  class CountingDataset : public FaultyDataset {
   public:
    CountingDataset() : FaultyDataset(100000, -1) {}
    Sample get(int64_t index) const override {
      ++reads;
      return FaultyDataset::get(index);
    }
    mutable std::atomic<int> reads = 0;
  };
  const auto set = std::make_shared<CountingDataset>();
  LoaderOptions options;
  options.workers = 2;
  options.prefetch = 3;
  options.batch_size = 2;
  options.shuffle = false;
  {
    Loader loader(set, options);
    EXPECT_TRUE(loader.next());
    const int most = 2 + 3 * 2;
    for (int i = 0; i < 20000 && set->reads < most; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(set->reads, most);
    EXPECT_EQ(loader.stats().batches, 1);
    EXPECT_GT(loader.stats().seconds_working, 0.007);
  }
  options.batch_size = 100000;  // two minutes' work a batch
  const auto start = std::chrono::steady_clock::now();
  {
    Loader loader(set, options);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    loader.seek(1, 0);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

TEST(Loader, GivesGreyBatchesWhenTheTransformMakesThem) {
  LoaderOptions options;
  options.transform = make_transform("grayscale");
  options.mean = {0.5};
  options.std = {0.5};
  EXPECT_EQ(Loader(noise_dataset(8, {3, 5, 6}, 2), options).next()->images.sizes().vec(),
            (std::vector<int64_t>{8, 1, 5, 6}));
}

TEST(Beta, MomentsAreThoseOfTheDistribution) {
  for (const double alpha : {0.01, 0.2, 1.0, 4.0}) {
    Random random(5);
    double sum = 0, square = 0;
    const int n = 40000;
    for (int i = 0; i < n; ++i) {
      const double x = sample_beta(alpha, random);
      ASSERT_TRUE(x >= 0 && x <= 1) << alpha;
      sum += x;
      square += (x - 0.5) * (x - 0.5);
    }
    const double variance = 1 / (4 * (2 * alpha + 1));
    EXPECT_NEAR(sum / n, 0.5, 5 * std::sqrt(variance / n)) << alpha;
    // (x - 1/2)^2 is at most 1/4, so its standard deviation is at most half the root of its mean.
    EXPECT_NEAR(square / n, variance, 5 * 0.5 * std::sqrt(variance / n)) << alpha;
  }
  Random random(0);
  expect_error(ErrorKind::usage, {"alpha must be positive"}, [&] { sample_beta(0, random); });
}

at::Tensor random_floats(std::vector<int64_t> shape) {
  int64_t n = 1;
  for (const int64_t extent : shape) n *= extent;
  return noise(1, 1, n).to(at::kFloat).view(shape);
}

TEST(Mix, MixupIsTheWeightedSumWithThePredecessor) {
  at::Tensor images = random_floats({5, 2, 3, 4});
  const at::Tensor before = images.clone();
  mix_rows(images, 0.3);
  for (int64_t i = 0; i < 5; ++i) {
    const at::Tensor expected = before[i] * 0.3f + before[(i + 4) % 5] * 0.7f;
    EXPECT_LT((images[i] - expected).abs().max().item<float>(), 1e-4) << i;
  }
}

TEST(Mix, CutmixTakesABoxAndWeighsLabelsByItsArea) {
  const at::Tensor labels = at::Tensor(random_floats({6})).to(at::kLong).remainder(4);
  for (uint64_t seed = 0; seed < 50; ++seed) {
    at::Tensor images = random_floats({6, 1, 9, 11});
    const at::Tensor before = images.clone();
    Random random(seed);
    const at::Tensor targets = mix_batch(images, labels, {0, 1, 4}, random);
    for (int64_t i = 0; i < 6; ++i) {
      const at::Tensor own = images[i].eq(before[i]), other = images[i].eq(before[(i + 5) % 6]);
      EXPECT_TRUE(own.logical_or(other).all().item<bool>());
      // Random bytes agree by chance in few places, so the share is known to within those.
      const double both = own.logical_and(other).sum().item<double>() / 99;
      const double kept = own.sum().item<double>() / 99;
      const int64_t y = labels[i].item<int64_t>(), z = labels[(i + 5) % 6].item<int64_t>();
      const double lambda = y == z ? kept : targets[i][y].item<double>();
      EXPECT_LE(std::abs(lambda - kept), both + 1e-6);
    }
  }
}

TEST(Mix, TargetsSumToOneAndBothKindsHappen) {
  const auto set = noise_dataset(64, {1, 6, 6}, 4);
  LoaderOptions options;
  options.batch_size = 8;
  options.mixup_alpha = 0.4;
  options.cutmix_alpha = 1;
  options.num_classes = 6;
  Loader loader(set, options);
  int whole_bytes = 0, batches = 0;
  for (const Batch& batch : read_epochs(loader, 10)) {
    EXPECT_EQ(batch.targets.sizes().vec(), (std::vector<int64_t>{8, 6}));
    EXPECT_LT((batch.targets.sum(1) - 1).abs().max().item<float>(), 1e-6);
    EXPECT_GE(batch.targets.min().item<float>(), 0);
    const at::Tensor scaled = batch.images * 255;
    whole_bytes += (scaled - scaled.round()).abs().max().item<float>() < 1e-3;
    ++batches;
  }
  EXPECT_EQ(batches, 80);
  EXPECT_NEAR(whole_bytes, 40, 5 * std::sqrt(80) / 2);  // CutMix keeps pixel values, mixup makes others
}

TEST(Mix, RefusesLabelsOutOfRange) {
  expect_error(ErrorKind::usage, {"labels must be in [0, 3)", "found 4"},
               [] { one_hot_targets(at::Tensor(random_floats({2})).to(at::kLong).fill_(4), 3); });
}

}  // namespace
}  // namespace fovea::data
