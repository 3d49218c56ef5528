// Places that cannot be written or read: one clear line, nothing lost, no half-written file.
#include <gtest/gtest.h>
#include <unistd.h>

#include "fixtures.h"

namespace fovea::cli_test {
namespace {

namespace fs = std::filesystem;

class BadPlace : public ::testing::Test {
 protected:
  BadPlace() { write_idx(work_ / "data"); }

  TemporaryFolder work_;
};

TEST_F(BadPlace, AFolderWithContentIsRefused) {
  write_text(work_ / "run/notes.txt", "mine");
  const auto ended = run_fovea(training(work_ / "data", work_ / "run", {"--set", "max_steps=2"}));
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_TRUE(ended.is_one_line_with({(work_ / "run").string(), "--resume auto"}));
  EXPECT_EQ(read_text(work_ / "run/notes.txt"), "mine");
  EXPECT_EQ(std::distance(fs::directory_iterator(work_ / "run"), fs::directory_iterator()), 1);
}

TEST_F(BadPlace, AFolderThatCannotBeMade) {
  write_text(work_ / "file", "");
  auto words = training(work_ / "data", work_ / "file/run", {"--set", "max_steps=2"});
  const auto under_a_file = run_fovea(words);
  EXPECT_EQ(under_a_file.exit_code, 1);
  EXPECT_TRUE(under_a_file.is_one_line_with({(work_ / "file/run").string()}));
  const auto no_rights = run_fovea(training(work_ / "data", "/proc/fovea", {"--set", "max_steps=2"}));
  EXPECT_EQ(no_rights.exit_code, 1);
  EXPECT_TRUE(no_rights.is_one_line_with({"/proc/fovea"}));
}

TEST_F(BadPlace, AReadOnlyFolder) {
  if (geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  fs::create_directories(work_ / "closed");
  fs::permissions(work_ / "closed", fs::perms::owner_read | fs::perms::owner_exec);
  const auto ended = run_fovea(training(work_ / "data", work_ / "closed/run", {"--set", "max_steps=2"}));
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_TRUE(ended.is_one_line_with({"closed/run"}));
}

TEST_F(BadPlace, AClosedCheckpointFolder) {
  if (geteuid() == 0) GTEST_SKIP() << "root may read everything";
  train_tiny(work_ / "data", work_ / "run");
  fs::permissions(work_ / "run/checkpoint-2", fs::perms::owner_read);
  const auto ended = run_fovea({"eval", (work_ / "run/checkpoint-2").string()});
  fs::permissions(work_ / "run/checkpoint-2", fs::perms::owner_all);
  EXPECT_EQ(ended.exit_code, 4);
  EXPECT_TRUE(ended.is_one_line_with({"checkpoint-2", "ermission"}));
}

TEST_F(BadPlace, AFullDiskWhileCheckpointing) {
  auto words =
      training(work_ / "data", work_ / "run", {"--set", "max_steps=4", "--set", "checkpoint_every=2"});
  const auto ended = run_fovea(words, {.largest_file = 64 * 1024});
  EXPECT_EQ(ended.exit_code, 1) << ended.signal;
  EXPECT_NE(ended.err.find("safetensors"), std::string::npos) << ended.err;
  EXPECT_FALSE(fs::exists(work_ / "run/checkpoint-2"));
  EXPECT_FALSE(fs::exists(work_ / "run/last"));
  words.insert(words.end(), {"--resume", "auto"});
  const auto again = run_fovea(words);
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_TRUE(fs::exists(work_ / "run/checkpoint-4/model.safetensors"));
}

TEST_F(BadPlace, AFullDiskUnderAResult) {
  train_tiny(work_ / "data", work_ / "run");
  write_tensors(work_ / "x.safetensors", {{"input", {{64, 1, 28, 28}, std::vector<float>(64 * 784, 0.5F)}}});
  const std::string out = (work_ / "y.safetensors").string();
  const auto ended = run_fovea({"run", "model", (work_ / "run/checkpoint-2").string(), "--input",
                                (work_ / "x.safetensors").string(), "--output", out},
                               {.largest_file = 1024});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_TRUE(ended.is_one_line_with({"y.safetensors"}));
  EXPECT_FALSE(fs::exists(out));
  for (const auto& entry : fs::directory_iterator(work_.path())) {
    EXPECT_FALSE(entry.path().filename().string().starts_with(".fovea-tmp")) << entry.path();
  }
}

TEST_F(BadPlace, ResumingWithAnotherModelIsRefused) {
  train_tiny(work_ / "data", work_ / "run");
  auto words = training(work_ / "data", work_ / "run",
                        {"--set", "max_steps=4", "--resume", "auto", "--model", "resnet14"});
  const auto ended = run_fovea(words);
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_TRUE(ended.is_one_line_with({"model.name", "resnet8", "resnet14"}));
}

}  // namespace
}  // namespace fovea::cli_test
