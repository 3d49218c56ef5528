// Going on: resumed runs equal unbroken ones bit for bit, and kills lose at most an interval.
#include <ATen/ops/rand.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <random>
#include <thread>

#include "fovea/core/error.h"
#include "fovea/io/file.h"
#include "tests/train/trainer_fixture.h"

namespace fovea::train {
namespace {

void expect_equal_runs(const fs::path& a, const fs::path& b, const std::string& checkpoint) {
  for (const char* name : {"model.safetensors", "state.safetensors", "config.json"}) {
    EXPECT_TRUE(io::read_file(a / checkpoint / name) == io::read_file(b / checkpoint / name))
        << name << " differs";
  }
  EXPECT_EQ(log_of(a), log_of(b));
  EXPECT_EQ(pointed_checkpoint(a, "best"), pointed_checkpoint(b, "best"));
  EXPECT_EQ(pointed_checkpoint(a, "last"), pointed_checkpoint(b, "last"));
}

struct ResumeCase {
  const char* name;
  json keys;
  SmallRunOptions options;
};

class ResumeTest : public TrainerTest, public testing::WithParamInterface<ResumeCase> {};

TEST_P(ResumeTest, FromEveryStepEqualsTheUnbrokenRun) {
  json keys = GetParam().keys;
  keys["max_steps"] = 9;
  keys["checkpoint_every"] = 1;
  keys["keep_checkpoints"] = 100;
  const TrainResult whole = train("whole", keys, GetParam().options);
  ASSERT_EQ(whole.step, 9);
  ASSERT_EQ(log_of(root_ / "whole").back()["step"], 9);
  for (int64_t step = 1; step < 9; ++step) {
    // What a kill leaves right after the checkpoint of this step; the log has gone on.
    const std::string name = "from" + std::to_string(step);
    fs::create_directories(root_ / name);
    for (int64_t s = 1; s <= step; ++s) {
      fs::copy(root_ / "whole" / checkpoint_name(s), root_ / name / checkpoint_name(s));
    }
    fs::copy(root_ / "whole/metrics.jsonl", root_ / name / "metrics.jsonl");
    at::rand({step});  // The state of the generator must come from the checkpoint.
    const TrainResult result = train(name, keys, GetParam().options);
    EXPECT_EQ(result.step, 9);
    ASSERT_EQ(notes_.size(), 1u);
    EXPECT_EQ(notes_[0],
              "resumed from " + checkpoint_name(step) + " (" + std::to_string(step) + " of 9 steps done).");
    SCOPED_TRACE("resumed from step " + std::to_string(step));
    expect_equal_runs(root_ / "whole", root_ / name, "checkpoint-9");
  }
}
INSTANTIATE_TEST_SUITE_P(
    All, ResumeTest,
    testing::Values(
        ResumeCase{"sgd_accumulate",
                   {{"optimizer", "sgd"}, {"nesterov", true}, {"accumulate", 3}, {"log_every", 2}},
                   {}},
        ResumeCase{
            "adamw_ema", {{"ema_decay", 0.95}, {"weight_decay", 0.1}, {"clip_norm", 0.5}, {"l1", 0.01}}, {}},
        ResumeCase{
            "bf16_mixup",
            {{"amp", "bf16"}, {"channels_last", true}, {"label_smoothing", 0.1}, {"schedule", "exponential"}},
            {{}, 0.4, 2, true}},
        ResumeCase{"adam_checkpointing", {{"optimizer", "adam"}, {"activation_checkpointing", true}}, {}}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(TrainerTest, AFinishedRunIsLeftAlone) {
  const TrainResult first = train("run", {{"max_steps", 5}});
  const std::string bytes = io::read_file(root_ / "run/checkpoint-5/manifest.json");
  const TrainResult again = train("run", {{"max_steps", 5}});
  EXPECT_EQ(again.step, 5);
  EXPECT_EQ(again.best, first.best);
  EXPECT_EQ(io::read_file(root_ / "run/checkpoint-5/manifest.json"), bytes);
  EXPECT_EQ(log_of(root_ / "run").size(), 5u);
}

TEST_F(TrainerTest, StopFinishesTheStepSavesAndGoesOnEqually) {
  const json keys = {{"max_steps", 11}, {"ema_decay", 0.9}};
  train("whole", keys);
  std::atomic<bool> stop = false;
  on_step_ = [&](const StepReport& report) {
    if (report.step == 6) stop = true;
  };
  const TrainResult stopped = train("run", small_parts(keys), &stop);
  EXPECT_TRUE(stopped.stopped);
  EXPECT_EQ(stopped.last, "checkpoint-6");
  on_step_ = nullptr;
  EXPECT_FALSE(train("run", keys).stopped);
  expect_equal_runs(root_ / "whole", root_ / "run", "checkpoint-11");
}

TEST_F(TrainerTest, ADamagedCheckpointCostsItsIntervalOnly) {
  const json keys = {{"max_steps", 11}, {"checkpoint_every", 2}};
  train("whole", keys);
  std::atomic<bool> stop = false;
  on_step_ = [&](const StepReport& report) { stop = report.step >= 6; };
  train("run", small_parts(keys), &stop);
  on_step_ = nullptr;
  fs::resize_file(root_ / "run/checkpoint-6/state.safetensors", 100);
  train("run", keys);
  ASSERT_EQ(notes_.size(), 2u);
  EXPECT_NE(notes_[0].find("checkpoint-6: state.safetensors has 100 bytes"), std::string::npos) << notes_[0];
  EXPECT_NE(notes_[1].find("resumed from checkpoint-4"), std::string::npos) << notes_[1];
  expect_equal_runs(root_ / "whole", root_ / "run", "checkpoint-11");
}

TEST_F(TrainerTest, ResumeRefusesWhatWouldChangeTheRun) {
  train("run", {{"max_steps", 4}});
  const auto message = [&](const json& keys) -> std::string {
    try {
      train("run", keys);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      return error.what();
    }
    return "";
  };
  EXPECT_NE(message({{"max_steps", 8}, {"lr", 0.01}}).find("lr was 0.05, now 0.01"), std::string::npos);
  EXPECT_NE(message({{"max_steps", 8}, {"optimizer", "sgd"}}).find("optimizer was"), std::string::npos);
  EXPECT_EQ(message({{"max_steps", 8}, {"log_every", 2}, {"checkpoint_every", 1}}), "");
  EXPECT_EQ(notes_.size(), 4u);
}

TEST_F(TrainerTest, ACheckpointOfAnotherNetworkNamesTheKeys) {
  train("run", {{"max_steps", 4}}, {{false, 0.0, 0.0}, 0.0, 1, true});
  try {
    train("run", {{"max_steps", 8}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::model_file);
    EXPECT_NE(std::string(error.what()).find("bn.weight"), std::string::npos) << error.what();
  }
}

/// The helper program with its stdout.
struct Child {
  pid_t pid = 0;
  int pipe = -1;
  int64_t last_step = 0;

  void start(const fs::path& run, int steps) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const std::string count = std::to_string(steps);
    pid = ::fork();
    if (pid == 0) {
      ::dup2(ends[1], 1);
      ::close(ends[0]);
      ::execl(FOVEA_KILL_TRAINER, "kill_trainer", run.c_str(), count.c_str(), nullptr);
      ::_exit(99);
    }
    ::close(ends[1]);
    pipe = ends[0];
  }

  /// Reads steps until `until` or the end; false at the end.
  bool read_steps(int64_t until) {
    std::string line;
    for (char c = 0; last_step < until;) {
      if (::read(pipe, &c, 1) != 1) return false;
      if (c != '\n') {
        line += c;
      } else {
        last_step = std::stoll(line);
        line.clear();
      }
    }
    return true;
  }

  int finish() {
    read_steps(1 << 30);
    ::close(pipe);
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
};

TEST_F(TrainerTest, SurvivesSigkillAtAnyMoment) {
  const char* text = std::getenv("FOVEA_TRAINER_KILLS");
  const int kills = text == nullptr ? 10 : std::atoi(text);
  const int steps = 12 * (kills + 2);
  Child whole;
  whole.start(root_ / "whole", steps);
  ASSERT_EQ(whole.finish(), 0);
  ASSERT_EQ(whole.last_step, steps);
  std::mt19937 random(std::random_device{}());
  int64_t seen = 0, worst = 0;
  for (int i = 0; i < kills; ++i) {
    Child child;
    child.start(root_ / "run", steps);
    // Steps 3, 6, 9... save: half of the kills come right after such a step, inside the save.
    const int64_t base = seen / 3 * 3 + 3 * std::uniform_int_distribution<int64_t>(1, 3)(random);
    child.read_steps(i % 2 == 0 ? base : base + 1);
    std::this_thread::sleep_for(
        std::chrono::microseconds(std::uniform_int_distribution<int>(0, 4000)(random)));
    ::kill(child.pid, SIGKILL);
    ASSERT_EQ(child.finish(), -SIGKILL);
    seen = child.last_step;
    const std::vector<std::string> names = checkpoint_names(root_ / "run");
    for (const std::string& name : names) ASSERT_EQ(find_damage(root_ / "run" / name), "") << name;
    worst = std::max(worst, seen - (names.empty() ? 0 : checkpoint_step(names[0])));
  }
  std::cout << kills << " kills, at most " << worst << " steps lost of an interval of 3\n";
  EXPECT_LE(worst, 3);
  Child rest;
  rest.start(root_ / "run", steps);
  ASSERT_EQ(rest.finish(), 0);
  expect_equal_runs(root_ / "whole", root_ / "run", checkpoint_name(steps));
}

}  // namespace
}  // namespace fovea::train
