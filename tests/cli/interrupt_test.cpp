// Signals, resuming, and two processes that want one folder.
#include <gtest/gtest.h>

#include <csignal>

#include "fixtures.h"

namespace fovea::cli_test {
namespace {

namespace fs = std::filesystem;

class Interrupt : public ::testing::Test {
 protected:
  Interrupt() { write_idx(work_ / "data"); }

  std::vector<std::string> words(int64_t steps, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all = {"--set", "max_steps=" + std::to_string(steps), "--set", "epochs=1"};
    all.insert(all.end(), more.begin(), more.end());
    return training(work_ / "data", work_ / "run", all);
  }

  bool has_trained() const {
    std::error_code ignored;
    return fs::exists(work_ / "run/metrics.jsonl", ignored) &&
           fs::file_size(work_ / "run/metrics.jsonl", ignored) > 0;
  }

  TemporaryFolder work_;
};

TEST_F(Interrupt, ASignalSavesAndResumeGoesOn) {
  for (const auto& [signal, code] : {std::pair{SIGINT, 130}, std::pair{SIGTERM, 143}}) {
    fs::remove_all(work_ / "run");
    Running training(words(100000, {"--json"}));
    ASSERT_TRUE(training.wait_until([&] { return has_trained(); }));
    training.send(signal);
    const auto ended = training.wait();
    EXPECT_EQ(ended.exit_code, code) << ended.err;
    EXPECT_NE(ended.err.find("--resume auto"), std::string::npos) << ended.err;
    const auto result = ended.json();
    EXPECT_EQ(result["stopped"], true);
    const int64_t step = result["step"];
    const std::string last = result["last"];
    EXPECT_EQ(last, "checkpoint-" + std::to_string(step));
    EXPECT_TRUE(fs::exists(work_ / "run" / last / "manifest.json"));

    const auto resumed = run_fovea(words(step + 3, {"--resume", "auto", "--json"}));
    EXPECT_EQ(resumed.exit_code, 0) << resumed.err;
    EXPECT_NE(resumed.err.find("resumed from " + last), std::string::npos) << resumed.err;
    EXPECT_EQ(resumed.json()["step"], step + 3);
    EXPECT_EQ(resumed.json()["stopped"], false);
  }
}

TEST_F(Interrupt, ASecondSignalEndsAtOnce) {
  Running training(words(100000));
  ASSERT_TRUE(training.wait_until([&] { return has_trained(); }));
  // Stopped meanwhile, so that both signals come before another step can be saved.
  training.send(SIGSTOP);
  training.send(SIGINT);
  training.send(SIGTERM);
  training.send(SIGCONT);
  const auto ended = training.wait();
  EXPECT_TRUE(ended.exit_code == 130 || ended.exit_code == 143) << ended.exit_code;
  EXPECT_EQ(ended.err.find("is saved"), std::string::npos) << ended.err;
  EXPECT_FALSE(fs::exists(work_ / "run/last"));
}

TEST_F(Interrupt, AnIgnoredSignalStaysIgnoredAndAHangUpSaves) {
  Running training(words(100000), {.shell = R"(trap '' INT; exec "$@")"});
  ASSERT_TRUE(training.wait_until([&] { return has_trained(); }));
  training.send(SIGINT);
  const auto size = [&] { return fs::file_size(work_ / "run/metrics.jsonl"); };
  const auto before = size();
  EXPECT_TRUE(training.wait_until([&] { return size() > 2 * before; }));
  training.send(SIGHUP);
  const auto ended = training.wait();
  EXPECT_EQ(ended.exit_code, 129) << ended.err;
  EXPECT_TRUE(fs::exists(work_ / "run/last"));
}

TEST_F(Interrupt, ResumedEqualsUninterrupted) {
  ASSERT_EQ(run_fovea(words(6)).exit_code, 0);
  const std::string whole = read_text(work_ / "run/checkpoint-6/model.safetensors");
  ASSERT_FALSE(whole.empty());
  fs::remove_all(work_ / "run");
  // max_steps shapes the schedule, so the first part is the whole training, killed without warning.
  Running training(words(6, {"--set", "checkpoint_every=2"}));
  training.wait_until([&] { return fs::exists(work_ / "run/checkpoint-2"); });
  training.send(SIGKILL);
  training.wait();
  const auto resumed = run_fovea(words(6, {"--resume", "auto"}));
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_EQ(read_text(work_ / "run/checkpoint-6/model.safetensors"), whole);
}

TEST_F(Interrupt, ResumeNeedsNoMoreThanTheFolder) {
  ASSERT_EQ(run_fovea(words(2)).exit_code, 0);
  const auto resumed = run_fovea({"train", "classify", "--output", (work_ / "run").string(), "--resume",
                                  "auto", "--set", "max_steps=3", "--json"});
  EXPECT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_EQ(resumed.json()["step"], 3);
}

TEST_F(Interrupt, TwoProcessesCannotShareAFolder) {
  Running first(words(100000));
  ASSERT_TRUE(first.wait_until([&] { return has_trained(); }));
  const auto second = run_fovea(words(100000, {"--resume", "auto"}));
  EXPECT_EQ(second.exit_code, 2);
  EXPECT_TRUE(second.is_one_line_with({(work_ / "run").string(), "process"}));
  first.send(SIGINT);
  EXPECT_EQ(first.wait().exit_code, 130);
}

TEST_F(Interrupt, PlainLinesWithoutTerminal) {
  const auto ended = run_fovea(words(3));
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_EQ(ended.err.find('\r'), std::string::npos);
  EXPECT_EQ(ended.err.find('\x1b'), std::string::npos);
  EXPECT_NE(ended.err.find("step 3/3"), std::string::npos) << ended.err;
}

TEST_F(Interrupt, ATerminalSeesOneLineRedrawn) {
  const auto ended = run_fovea(words(3, {"--set", "data.val_fraction=0"}), {.terminal_columns = 60});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_NE(ended.err.find("3/3"), std::string::npos) << ended.err;
  EXPECT_NE(ended.err.find('\r'), std::string::npos);
  size_t column = 0;
  for (const char c : ended.err) {
    column = c == '\r' || c == '\n' ? 0 : column + 1;
    ASSERT_LT(column, 60u) << "a line that wraps cannot be redrawn";
  }
}

}  // namespace
}  // namespace fovea::cli_test
