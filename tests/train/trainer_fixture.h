#pragma once
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "fovea/train/log.h"
#include "fovea/train/run_folder.h"
#include "tests/io/scratch.h"
#include "tests/train/small_run.h"

namespace fovea::train {

namespace fs = std::filesystem;
using nlohmann::json;

/// Trains the small network into folders of the test's own, on one thread.
class TrainerTest : public testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }

  /// Trains into root_/name.
  TrainResult train(const std::string& name, const json& keys, const SmallRunOptions& options = {}) {
    return train(name, small_parts(keys, options));
  }
  TrainResult train(const std::string& name, TrainerParts parts, const std::atomic<bool>* stop = nullptr) {
    const int64_t keep = parts.config.keep_checkpoints;
    RunFolder folder(root_ / name, {true, keep});
    TrainCallbacks callbacks;
    notes_.clear();
    callbacks.on_note = [this](const std::string& line) { notes_.push_back(line); };
    callbacks.on_step = [this](const StepReport& report) {
      if (on_step_) on_step_(report);
    };
    return Trainer(std::move(parts), folder, callbacks).run(stop);
  }

  io::ScratchFolder folder_;
  const fs::path root_ = folder_.path();
  std::vector<std::string> notes_;
  std::function<void(const StepReport&)> on_step_;
};

/// Lines of metrics.jsonl without what depends on the clock.
inline std::vector<json> log_of(const fs::path& run) {
  std::vector<json> lines;
  for (const auto& line : read_log(run / "metrics.jsonl")) {
    lines.push_back(line);
    lines.back().erase("samples_per_second");
  }
  return lines;
}

}  // namespace fovea::train
