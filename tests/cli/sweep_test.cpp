// One network with several attention mechanisms.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "fixtures.h"
#include "fovea/io/folder_lock.h"

namespace fovea::cli_test {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> sweep(const TemporaryFolder& work, const std::vector<std::string>& more) {
  std::vector<std::string> words = {"sweep",
                                    "--model",
                                    "fashion_vit",
                                    "--data",
                                    "mnist:" + (work / "data").string(),
                                    "--set",
                                    "batch_size=8",
                                    "--set",
                                    "data.workers=0",
                                    "--set",
                                    "model.depth=1",
                                    "--set",
                                    "log_every=1",
                                    "--seed",
                                    "3",
                                    "--output",
                                    (work / "out").string()};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(Sweep, MakesATableAndGoesOn) {
  const TemporaryFolder work;
  write_idx(work / "data");
  const std::vector<std::string> few = {"--set",   "max_steps=3", "--attention",
                                        "softmax", "--attention", "lsh:chunk=4"};
  const auto ended = run_fovea(sweep(work, few));
  ASSERT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_NE(ended.out.find("| lsh:chunk=4 |"), std::string::npos) << ended.out;
  EXPECT_EQ(read_text(work / "out/sweep.md"), ended.out);

  auto more = few;
  more.insert(more.end(), {"--attention", "linformer:length=2,rank=2", "--attention", "efficient", "--json"});
  const auto again = run_fovea(sweep(work, more));
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(again.err.find("1 of 4"), std::string::npos) << "trained again: " << again.err;
  const auto rows = again.json()["rows"];
  ASSERT_EQ(rows.size(), 4u);
  for (const size_t i : {0u, 1u, 3u}) {
    EXPECT_EQ(rows[i]["steps"], 3) << rows[i];
    EXPECT_GT(rows[i]["ms_a_step"], 0);
    EXPECT_GT(rows[i]["peak_bytes"], 10 << 20);
    EXPECT_GE(rows[i]["best_top1"], 0);
  }
  EXPECT_TRUE(rows[2].contains("refused") || rows[2].contains("failed")) << rows[2];

  // The folder tells what a call leaves out: settings, and mechanisms.
  const std::string out = (work / "out").string();
  const auto one_more = run_fovea({"sweep", "--output", out, "--attention", "channel", "--json"});
  ASSERT_EQ(one_more.exit_code, 0) << one_more.err;
  EXPECT_EQ(one_more.json()["arguments"], again.json()["arguments"]);
  ASSERT_EQ(one_more.json()["rows"].size(), 5u);
  EXPECT_EQ(one_more.json()["rows"][4]["attention"], "channel");
  EXPECT_EQ(one_more.json()["rows"][4]["steps"], 3);
  const auto alone = run_fovea({"sweep", "--output", out, "--json"});
  ASSERT_EQ(alone.exit_code, 0) << alone.err;
  EXPECT_EQ(alone.err, "");
  EXPECT_EQ(alone.json(), one_more.json());
  EXPECT_EQ(alone.json()["mechanisms"],
            (std::vector<std::string>{"softmax", "lsh:chunk=4", "linformer:length=2,rank=2", "efficient",
                                      "channel"}));
  EXPECT_TRUE(
      run_fovea({"sweep", "--output", (work / "nowhere").string()}).is_one_line_with({"no model is named"}));

  EXPECT_TRUE(
      run_fovea(sweep(work, {"--set", "max_steps=4"})).is_one_line_with({"settings that it began with"}));
  EXPECT_TRUE(run_fovea({"sweep", "--output", out, "--threads", "2"})
                  .is_one_line_with({"found '--threads 2'", "max_steps=3"}));
  EXPECT_TRUE(run_fovea(sweep(work, {"--attention", "softmax", "--attention", "softmax"}))
                  .is_one_line_with({"once"}));
  EXPECT_TRUE(run_fovea(sweep(work, {"--attention", "softmix"})).is_one_line_with({"softmax"}));
}

// The child saves what it has; the same call goes on from there.
TEST(Sweep, ASignalStopsTheTrainingToo) {
  const TemporaryFolder work;
  write_idx(work / "data");
  const auto words = sweep(work, {"--set", "max_steps=100000", "--attention", "softmax"});
  Running running(words);
  const fs::path log = work / "out/softmax/metrics.jsonl";
  std::error_code ignored;
  ASSERT_TRUE(
      running.wait_until([&] { return fs::exists(log, ignored) && fs::file_size(log, ignored) > 0; }));
  running.send(SIGTERM);
  const auto ended = running.wait();
  EXPECT_EQ(ended.exit_code, 143) << ended.err;
  EXPECT_NE(ended.err.find("stopped by a signal"), std::string::npos) << ended.err;
  EXPECT_TRUE(fs::exists(work / "out/softmax/last"));
  const auto table = nlohmann::json::parse(read_text(work / "out/sweep.json"));
  EXPECT_EQ(table["mechanisms"], std::vector<std::string>{"softmax"});
  EXPECT_TRUE(table["rows"].empty());
}

TEST(Sweep, AKilledSweepLeavesNoTrainingBehind) {
  const TemporaryFolder work;
  write_idx(work / "data");
  Running running(sweep(work, {"--set", "max_steps=100000", "--attention", "softmax"}));
  const fs::path log = work / "out/softmax/metrics.jsonl", saved = work / "out/softmax/last";
  std::error_code ignored;
  ASSERT_TRUE(
      running.wait_until([&] { return fs::exists(log, ignored) && fs::file_size(log, ignored) > 0; }));
  running.send(SIGKILL);
  EXPECT_EQ(running.wait().signal, SIGKILL);
  // The training saves what it has, and leaves its folder to the next.
  const auto ended = [&] {
    try {
      return fs::exists(saved, ignored) && (io::FolderLock(work / "out/softmax", "test"), true);
    } catch (const std::exception&) {
      return false;
    }
  };
  bool free = ended();
  for (int i = 0; i < 600 && !free; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    free = ended();
  }
  EXPECT_TRUE(free);
}

// Two would replace each other's table; and what kept a training from its folder says nothing of its
// mechanism.
TEST(Sweep, OneAtATimeAndWhatFailedIsTriedAgain) {
  const TemporaryFolder work;
  write_idx(work / "data");
  const auto words = sweep(work, {"--set", "max_steps=1", "--attention", "softmax", "--json"});
  write_text(work / "out/softmax", "a file where the run's folder goes");
  const auto failed = run_fovea(words);
  ASSERT_EQ(failed.exit_code, 1) << failed.err;
  ASSERT_EQ(failed.json()["rows"].size(), 1u);
  EXPECT_TRUE(failed.json()["rows"][0].contains("failed")) << failed.out;

  fs::remove(work / "out/softmax");
  {
    const io::FolderLock other(work / "out", "test");
    const auto ended = run_fovea(words);
    EXPECT_EQ(ended.exit_code, 2);
    EXPECT_TRUE(ended.is_one_line_with({"in use by process " + std::to_string(::getpid())})) << ended.err;
  }
  const auto again = run_fovea(words);
  ASSERT_EQ(again.exit_code, 0) << again.err;
  ASSERT_EQ(again.json()["rows"].size(), 1u);
  EXPECT_EQ(again.json()["rows"][0]["steps"], 1) << again.out;
}

TEST(Sweep, ATableOfAnotherFormIsRefused) {
  const TemporaryFolder work;
  for (const char* text : {"[]", "{", R"({"arguments": [1], "mechanisms": [], "rows": []})",
                           R"({"arguments": [], "mechanisms": [], "rows": {}})", R"({"rows": []})",
                           R"({"arguments": ["--set"], "mechanisms": [], "rows": []})",
                           R"({"arguments": ["--output", "/"], "mechanisms": [], "rows": []})",
                           R"({"arguments": [], "mechanisms": [], "rows": [{}]})",
                           R"({"arguments": [], "mechanisms": [], "rows": [{"attention": "softmax"}]})",
                           R"({"arguments": [], "mechanisms": [],
                               "rows": [{"attention": "softmax", "failed": 1}]})"}) {
    write_text(work / "sweep.json", text);
    const auto ended = run_fovea({"sweep", "--output", work.path().string()});
    EXPECT_EQ(ended.exit_code, 2);
    EXPECT_TRUE(ended.is_one_line_with({"its own table", "sweep.json"})) << ended.err;
  }
}

}  // namespace
}  // namespace fovea::cli_test
