#include "fovea/data/loader.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

#include "fovea/core/error.h"
#include "fovea/data/batch_maker.h"

namespace fovea::data {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// A worker must not start an OpenMP team of its own beside the network's. libtorch sets a thread's number of
// threads when it first asks for it, so ask before setting it.
void use_one_thread() {
  at::get_num_threads();
#ifdef _OPENMP
  omp_set_num_threads(1);
#endif
}

// A batch, or why there is none.
struct Outcome {
  Batch batch;
  std::exception_ptr error;
};

}  // namespace

// Workers take tickets, numbered since the last seek; the consumer takes their outcomes in the order of the
// tickets. A seek begins a new generation: what an older one still makes is thrown away.
class Loader::Impl {
 public:
  Impl(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options)
      : maker_(std::move(dataset), options), ahead_(std::max(options.prefetch, options.workers)) {
    try {
      for (int i = 0; i < options.workers; ++i) workers_.emplace_back([this] { work(); });
    } catch (...) {  // the system gives no more threads
      join();
      throw;
    }
  }

  ~Impl() { join(); }

  int64_t batches() const { return maker_.batches_per_epoch(); }

  void seek(BatchPosition position) {
    {
      const std::lock_guard lock(mutex_);
      ++generation_;
      outcomes_.clear();
      taken_ = given_ = 0;
      to_give_ = position;
      to_make_ = position.batch == batches() ? BatchPosition{position.epoch + 1, 0} : position;
    }
    wanted_.notify_all();
  }

  std::optional<Batch> next() {
    if (to_give_.batch == batches()) {
      to_give_ = {to_give_.epoch + 1, 0};
      return std::nullopt;
    }
    const auto start = Clock::now();
    Outcome outcome = workers_.empty() ? make(to_give_, generation_) : take();
    ++to_give_.batch;
    const std::lock_guard lock(mutex_);
    stats_.seconds_waited += seconds_since(start);
    if (outcome.error) std::rethrow_exception(outcome.error);
    ++stats_.batches;
    return std::move(outcome.batch);
  }

  LoaderStats stats() const {
    const std::lock_guard lock(mutex_);
    return stats_;
  }

 private:
  void join() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
      ++generation_;
    }
    wanted_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

  Outcome make(BatchPosition position, uint64_t generation) {
    const auto start = Clock::now();
    Outcome outcome;
    try {
      outcome.batch = maker_.make(position, [&] { return generation_ != generation; });
    } catch (...) {
      outcome.error = std::current_exception();
    }
    const std::lock_guard lock(mutex_);
    stats_.seconds_working += seconds_since(start);
    return outcome;
  }

  Outcome take() {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [&] { return outcomes_.contains(given_); });
    Outcome outcome = std::move(outcomes_.extract(given_).mapped());
    ++given_;
    lock.unlock();
    wanted_.notify_one();
    return outcome;
  }

  void work() {
    use_one_thread();
    std::unique_lock lock(mutex_);
    while (true) {
      wanted_.wait(lock, [&] { return stop_ || taken_ - given_ < ahead_; });
      if (stop_) return;
      const int64_t ticket = taken_++;
      const uint64_t generation = generation_;
      const BatchPosition position = to_make_;
      if (++to_make_.batch == batches()) to_make_ = {to_make_.epoch + 1, 0};
      lock.unlock();
      Outcome outcome = make(position, generation);
      lock.lock();
      if (generation != generation_) continue;
      outcomes_.emplace(ticket, std::move(outcome));
      ready_.notify_one();
    }
  }

  const BatchMaker maker_;
  const int64_t ahead_;    // tickets that may be out or waiting
  BatchPosition to_give_;  // the consumer's

  mutable std::mutex mutex_;  // guards all below; generation_ is also read without it, to cancel early
  std::condition_variable wanted_, ready_;
  std::map<int64_t, Outcome> outcomes_;
  int64_t taken_ = 0, given_ = 0;
  BatchPosition to_make_;
  std::atomic<uint64_t> generation_ = 0;
  bool stop_ = false;
  LoaderStats stats_;
  std::vector<std::thread> workers_;
};

Loader::Loader(std::shared_ptr<const Dataset> dataset, LoaderOptions options)
    : impl_(std::make_unique<Impl>(std::move(dataset), options)) {}

Loader::~Loader() = default;

int64_t Loader::batches_per_epoch() const { return impl_->batches(); }

void Loader::seek(int64_t epoch, int64_t batch) {
  constexpr int64_t kMostEpochs = int64_t{1} << 30;  // epochs number 32-bit random streams, several each
  if (epoch < 0 || epoch >= kMostEpochs || batch < 0 || batch > batches_per_epoch()) {
    throw usage_error("loader",
                      fmt::format("epoch must not be negative and batch be in [0, {}]; found {} and {}.",
                                  batches_per_epoch(), epoch, batch));
  }
  impl_->seek({epoch, batch});
}

std::optional<Batch> Loader::next() { return impl_->next(); }

LoaderStats Loader::stats() const { return impl_->stats(); }

}  // namespace fovea::data
