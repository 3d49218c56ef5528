// Run folders under kills, full disks and missing rights, each in a process of its own.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <random>
#include <thread>

#include "fovea/core/error.h"
#include "fovea/train/run_folder.h"
#include "tests/train/run_folder_fixture.h"

namespace fovea::train {
namespace {

using RunFolderKillTest = RunFolderTest;

/// Runs `f` in a child process; its exit code, or minus the signal that ended it.
int in_child(const std::function<int()>& f) {
  const pid_t child = ::fork();
  if (child == 0) {
    int code = 100;
    try {
      code = f();
    } catch (...) {
    }
    ::_exit(code);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST_F(RunFolderKillTest, AFullDiskLosesNothing) {
  {
    RunFolder folder(run_);
    folder.save(make_checkpoint(1, 4096), true);
  }
  const int code = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {8192, 8192};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    RunFolder folder(run_, {true, 3});
    try {
      folder.save(make_checkpoint(2, 4096), true);
    } catch (const Error& error) {
      return std::string(error.what()).find("File too large") == std::string::npos ? 50 : error.exit_code();
    }
    return 0;
  });
  EXPECT_EQ(code, 1);
  EXPECT_EQ(names_in(run_), (std::vector<std::string>{".lock", "best", "checkpoint-1", "last"}));
  expect_same(read_checkpoint(run_ / "checkpoint-1"), 1, 4096);
}

TEST_F(RunFolderKillTest, AReadOnlyFolderIsOneClearError) {
  fs::create_directories(root_ / "fixed");
  fs::permissions(root_, fs::perms(0755));
  fs::permissions(root_ / "fixed", fs::perms(0555));
  for (const fs::path& path : {root_ / "fixed", root_ / "fixed/new"}) {
    const int code = in_child([&] {
      // The superuser may write anywhere.
      if (::geteuid() == 0 && ::setuid(65534) != 0) return 60;
      try {
        RunFolder folder(path);
      } catch (const Error& error) {
        const std::string text = error.what();
        return text.find("cannot be written: Permission denied") == std::string::npos ? 50
                                                                                      : error.exit_code();
      }
      return 0;
    });
    EXPECT_EQ(code, 1) << path;
  }
}

int kills_wanted(int default_count) {
  const char* text = std::getenv("FOVEA_WRITER_KILLS");
  return text == nullptr ? default_count : std::atoi(text);
}

/// Saves checkpoint after checkpoint, telling `pipe` when one begins (its step, negative) and is done.
[[noreturn]] void write_for_ever(const fs::path& run, int pipe) {
  RunFolder folder(run, {true, 2});
  std::vector<std::string> notes;
  const auto latest = folder.load_latest(notes);
  if (!notes.empty()) ::_exit(70);
  for (int64_t step = latest ? latest->step + 1 : 1;; ++step) {
    const Checkpoint checkpoint = make_checkpoint(step, 20000);
    for (const int64_t report : {-step, step}) {
      if (report > 0) folder.save(checkpoint, step % 3 == 0);
      if (::write(pipe, &report, sizeof report) != sizeof report) ::_exit(71);
    }
    if (step % 2 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(3));
  }
}

struct WriterWatch {
  pid_t child = 0;
  int pipe = -1;
  int64_t begun = 0, done = 0;

  void start(const fs::path& run) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    child = ::fork();
    if (child == 0) {
      ::close(ends[0]);
      try {
        write_for_ever(run, ends[1]);
      } catch (...) {
        ::_exit(72);
      }
    }
    ::close(ends[1]);
    pipe = ends[0];
  }

  bool read_one() {
    int64_t report = 0;
    if (::read(pipe, &report, sizeof report) != sizeof report) return false;
    (report < 0 ? begun : done) = std::abs(report);
    return true;
  }

  /// Kills it; true when that was inside a save.
  bool kill_and_drain() {
    ::kill(child, SIGKILL);
    while (read_one()) {
    }
    ::close(pipe);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "the writer failed: " << status;
    return begun > done;
  }
};

/// Every folder of the name checkpoint-STEP is whole, and the newest is the last one that the writer
/// finished, or the one it was writing.
void check_after_kill(const fs::path& run, const WriterWatch& watch) {
  const std::vector<std::string> names = checkpoint_names(run);
  for (const std::string& name : names) ASSERT_EQ(find_damage(run / name), "") << name;
  if (watch.done > 0) {
    ASSERT_FALSE(names.empty());
    expect_same(read_checkpoint(run / names[0]), checkpoint_step(names[0]), 20000);
    EXPECT_GE(checkpoint_step(names[0]), watch.done);
    EXPECT_LE(checkpoint_step(names[0]), watch.begun);
    for (const char* pointer : {"last", "best"}) {
      const std::string name = pointed_checkpoint(run, pointer);
      if (!name.empty()) {
        EXPECT_TRUE(fs::exists(run / name)) << pointer << " " << name;
      }
    }
  }
}

TEST_F(RunFolderKillTest, SurvivesSigkillAtAnyMoment) {
  const int kills = kills_wanted(100);
  std::mt19937 random(std::random_device{}());
  std::uniform_int_distribution<int> delay(0, 6000);
  int inside = 0;
  WriterWatch watch;
  for (int i = 0; i < kills; ++i) {
    watch.start(run_);
    // Half of them wait for a save to begin.
    const int64_t before = watch.begun;
    if (i % 2 == 0) {
      while (watch.begun == before && watch.read_one()) {
      }
    }
    std::this_thread::sleep_for(std::chrono::microseconds(delay(random)));
    inside += watch.kill_and_drain() ? 1 : 0;
    check_after_kill(run_, watch);
    if (HasFailure()) FAIL() << "after " << i + 1 << " kills";
  }
  RecordProperty("kills", kills);
  RecordProperty("inside_a_save", inside);
  std::cout << kills << " kills, " << inside << " inside a save, newest checkpoint " << watch.done << "\n";
  EXPECT_GE(inside, kills / 4);
}

}  // namespace
}  // namespace fovea::train
