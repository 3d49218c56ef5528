#pragma once
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "fovea/train/checkpoint.h"
#include "tests/io/scratch.h"

namespace fovea::train {

namespace fs = std::filesystem;

class RunFolderTest : public testing::Test {
 protected:
  io::ScratchFolder folder_;
  const fs::path root_ = folder_.path(), run_ = root_ / "run";
};

/// A checkpoint whose content follows from its step.
inline Checkpoint make_checkpoint(int64_t step, int64_t numbers = 16) {
  Checkpoint c;
  c.step = step;
  c.model = {{"weight", at::full({numbers}, static_cast<double>(step))}, {"bias", at::arange(4) + step}};
  c.state = {{"optimizer.weight.momentum", at::full({numbers}, -static_cast<double>(step))}};
  c.progress = {{"best", "checkpoint-1"}};
  c.config = {{"lr", 0.1}, {"step", step}};
  c.seconds = 12.5;
  return c;
}

inline void expect_same(const Checkpoint& found, int64_t step, int64_t numbers = 16) {
  const Checkpoint expected = make_checkpoint(step, numbers);
  EXPECT_EQ(found.step, step);
  EXPECT_TRUE(found.model.at("weight").equal(expected.model.at("weight")));
  EXPECT_TRUE(found.model.at("bias").equal(expected.model.at("bias")));
  EXPECT_TRUE(found.state.begin()->second.equal(expected.state.begin()->second));
  EXPECT_EQ(found.progress, expected.progress);
  EXPECT_EQ(found.config, expected.config);
  EXPECT_EQ(found.seconds, 12.5);
}

inline std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace fovea::train
