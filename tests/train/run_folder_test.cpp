// Checkpoints and run folders under kills, flipped bytes, full disks and other processes.
#include "fovea/train/run_folder.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iomanip>
#include <random>
#include <sstream>
#include <thread>

#include "fovea/core/error.h"
#include "fovea/io/crc32c.h"
#include "fovea/io/file.h"
#include "tests/io/scratch.h"

namespace fovea::train {
namespace {

namespace fs = std::filesystem;

class RunFolderTest : public testing::Test {
 protected:
  io::ScratchFolder folder_;
  const fs::path root_ = folder_.path(), run_ = root_ / "run";
};

/// A checkpoint whose content follows from its step.
Checkpoint make_checkpoint(int64_t step, int64_t numbers = 16) {
  Checkpoint c;
  c.step = step;
  c.model = {{"weight", at::full({numbers}, static_cast<double>(step))}, {"bias", at::arange(4) + step}};
  c.state = {{"optimizer.weight.momentum", at::full({numbers}, -static_cast<double>(step))}};
  c.progress = {{"best", "checkpoint-1"}};
  c.config = {{"lr", 0.1}, {"step", step}};
  c.seconds = 12.5;
  return c;
}

void expect_same(const Checkpoint& found, int64_t step, int64_t numbers = 16) {
  const Checkpoint expected = make_checkpoint(step, numbers);
  EXPECT_EQ(found.step, step);
  EXPECT_TRUE(found.model.at("weight").equal(expected.model.at("weight")));
  EXPECT_TRUE(found.model.at("bias").equal(expected.model.at("bias")));
  EXPECT_TRUE(found.state.begin()->second.equal(expected.state.begin()->second));
  EXPECT_EQ(found.progress, expected.progress);
  EXPECT_EQ(found.config, expected.config);
  EXPECT_EQ(found.seconds, 12.5);
}

template <class F>
std::string message_of(ErrorKind kind, F&& f) {
  try {
    f();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

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

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

TEST_F(RunFolderTest, WritesWhatItReads) {
  RunFolder folder(run_);
  folder.save(make_checkpoint(5), true);
  expect_same(read_checkpoint(run_ / "checkpoint-5"), 5);
  EXPECT_EQ(names_in(run_), (std::vector<std::string>{".lock", "best", "checkpoint-5", "last"}));
  EXPECT_EQ(
      names_in(run_ / "checkpoint-5"),
      (std::vector<std::string>{"config.json", "manifest.json", "model.safetensors", "state.safetensors"}));
  EXPECT_EQ(io::read_file(run_ / "last"), "checkpoint-5\n");
  EXPECT_EQ(folder.best(), "checkpoint-5");
}

TEST_F(RunFolderTest, KeepsTheNewestAndTheBest) {
  RunFolder folder(run_, {false, 2});
  for (int64_t step = 1; step <= 6; ++step) folder.save(make_checkpoint(step), step == 2);
  EXPECT_EQ(checkpoint_names(run_),
            (std::vector<std::string>{"checkpoint-6", "checkpoint-5", "checkpoint-2"}));
  EXPECT_EQ(folder.last(), "checkpoint-6");
  EXPECT_EQ(folder.best(), "checkpoint-2");
  EXPECT_EQ(find_checkpoint(run_).weights, run_ / "checkpoint-2/model.safetensors");
}

TEST_F(RunFolderTest, EveryFlippedByteIsFound) {
  const fs::path checkpoint = write_checkpoint(root_, make_checkpoint(3));
  ASSERT_EQ(find_damage(checkpoint), "");
  int flips = 0;
  for (const char* name : {"model.safetensors", "state.safetensors", "config.json", "manifest.json"}) {
    const std::string good = io::read_file(checkpoint / name);
    for (size_t i = 0; i < good.size(); ++i, ++flips) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ (1 << (i % 8)));
      std::ofstream(checkpoint / name, std::ios::binary) << bad;
      const std::string damage = find_damage(checkpoint);
      ASSERT_NE(damage, "") << name << " byte " << i;
      if (std::string(name) != "manifest.json") {
        ASSERT_NE(damage.find(name), std::string::npos) << damage;
      }
    }
    std::ofstream(checkpoint / name, std::ios::binary) << good;
  }
  EXPECT_GT(flips, 500);
  EXPECT_EQ(find_damage(checkpoint), "");
}

TEST_F(RunFolderTest, AFileIsVerifiedByTheManifestBesideIt) {
  const fs::path checkpoint = write_checkpoint(root_, make_checkpoint(3));
  const fs::path weights = checkpoint / "model.safetensors";
  fs::remove(checkpoint / "state.safetensors");
  EXPECT_EQ(find_checkpoint(weights).weights, weights) << "only what is used is looked at";
  std::ofstream(weights, std::ios::binary | std::ios::in | std::ios::ate).seekp(-1, std::ios::end) << '\x7f';
  EXPECT_NE(message_of(ErrorKind::model_file, [&] { find_checkpoint(weights); }).find("CRC32C"),
            std::string::npos);
}

TEST_F(RunFolderTest, ACopyMayHaveAnyNameOutsideOfARun) {
  RunFolder(run_).save(make_checkpoint(5), true);
  fs::copy(run_ / "checkpoint-5", root_ / "mine");
  EXPECT_EQ(find_checkpoint(root_ / "mine").weights, root_ / "mine/model.safetensors");
  fs::copy(run_ / "checkpoint-5", run_ / "checkpoint-7");
  message_of(ErrorKind::model_file, [&] { find_checkpoint(run_ / "checkpoint-7"); });
}

TEST_F(RunFolderTest, CutAndMissingFilesAreFound) {
  const fs::path checkpoint = write_checkpoint(root_, make_checkpoint(3));
  fs::resize_file(checkpoint / "state.safetensors", 40);
  EXPECT_NE(find_damage(checkpoint).find("state.safetensors has 40 bytes instead of"), std::string::npos);
  fs::remove(checkpoint / "state.safetensors");
  EXPECT_EQ(find_damage(checkpoint), "state.safetensors is missing");
  std::ofstream(checkpoint / "manifest.json") << std::string(200000, '[');
  EXPECT_EQ(find_damage(checkpoint), "manifest.json is damaged");
  fs::remove(checkpoint / "manifest.json");
  EXPECT_EQ(find_damage(checkpoint), "manifest.json is missing");
}

TEST_F(RunFolderTest, ADamagedOneIsPassedOverAndSaidSo) {
  {
    RunFolder folder(run_);
    for (int64_t step : {10, 20, 30}) folder.save(make_checkpoint(step), step == 30);
  }
  std::fstream(run_ / "checkpoint-30/model.safetensors", std::ios::binary | std::ios::in | std::ios::out)
          .seekp(100)
      << 'x';
  const CheckpointFiles files = find_checkpoint(run_);
  EXPECT_EQ(files.weights, run_ / "checkpoint-20/model.safetensors");
  ASSERT_EQ(files.notes.size(), 2u);
  EXPECT_NE(files.notes[0].find("checkpoint-30 cannot be used: model.safetensors was changed"),
            std::string::npos);
  EXPECT_EQ(files.notes[1], "checkpoint-20 is used instead.");

  RunFolder folder(run_, {true, 3});
  std::vector<std::string> notes;
  const auto checkpoint = folder.load_latest(notes);
  ASSERT_TRUE(checkpoint);
  expect_same(*checkpoint, 20);
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_NE(notes[0].find("checkpoint-30: model.safetensors was changed"), std::string::npos) << notes[0];
  EXPECT_NE(notes[0].find("checkpoint-20 is used instead"), std::string::npos) << notes[0];
  EXPECT_TRUE(fs::exists(run_ / "damaged-checkpoint-30"));
  folder.save(make_checkpoint(30), true);
  expect_same(read_checkpoint(run_ / folder.best()), 30);
}

TEST_F(RunFolderTest, AManifestThatNamesNoFilesIsDamage) {
  RunFolder folder(run_);
  folder.save(make_checkpoint(1), false);
  nlohmann::json manifest = {{"checkpoint", "checkpoint-1"}};
  std::ostringstream check;
  check << std::hex << std::setw(8) << std::setfill('0') << io::crc32c(io::as_bytes(manifest.dump()));
  manifest["check"] = check.str();
  std::ofstream(run_ / "checkpoint-1/manifest.json") << manifest.dump(1) << "\n";
  EXPECT_NE(find_damage(run_ / "checkpoint-1").find("lacks model.safetensors"), std::string::npos);
}

TEST_F(RunFolderTest, AllDamagedIsAnError) {
  {
    RunFolder folder(run_);
    folder.save(make_checkpoint(1), false);
  }
  fs::remove(run_ / "checkpoint-1/config.json");
  RunFolder folder(run_, {true, 3});
  std::vector<std::string> notes;
  const std::string text = message_of(ErrorKind::model_file, [&] { folder.load_latest(notes); });
  EXPECT_NE(text.find("config.json is missing"), std::string::npos) << text;
  message_of(ErrorKind::model_file, [&] { find_checkpoint(run_); });
  EXPECT_TRUE(fs::exists(run_ / "checkpoint-1")) << "nothing may be lost";
}

TEST_F(RunFolderTest, ContentIsRefusedWithoutResume) {
  {
    RunFolder folder(run_);
    folder.save(make_checkpoint(1), false);
  }
  const std::string text = message_of(ErrorKind::usage, [&] { RunFolder folder(run_); });
  EXPECT_NE(text.find("--resume auto"), std::string::npos) << text;
  fs::create_directories(root_ / "photos");
  std::ofstream(root_ / "photos/cat.jpg") << "x";
  message_of(ErrorKind::usage, [&] { RunFolder folder(root_ / "photos", {true, 3}); });
  message_of(ErrorKind::usage, [&] { RunFolder folder(root_ / "photos/cat.jpg"); });
  EXPECT_EQ(names_in(root_ / "photos"), std::vector<std::string>{"cat.jpg"});
}

TEST_F(RunFolderTest, TwoProcessesCannotShareAFolder) {
  const RunFolder first(run_);
  const std::string text = message_of(ErrorKind::usage, [&] { RunFolder second(run_, {true, 3}); });
  EXPECT_NE(text.find("in use by process " + std::to_string(::getpid())), std::string::npos) << text;
}

TEST_F(RunFolderTest, LeftOversAreRemoved) {
  {
    RunFolder folder(run_);
    folder.save(make_checkpoint(1), false);
  }
  fs::create_directories(run_ / "tmp-checkpoint-2");
  std::ofstream(run_ / "tmp-checkpoint-2/model.safetensors") << "half";
  fs::create_directories(run_ / "tmp-removed-checkpoint-0");
  std::ofstream(run_ / ".fovea-tmp-123-0123456789abcdef") << "half";
  const RunFolder folder(run_, {true, 3});
  EXPECT_EQ(names_in(run_), (std::vector<std::string>{".lock", "checkpoint-1", "last"}));
}

TEST_F(RunFolderTest, AFullDiskLosesNothing) {
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

TEST_F(RunFolderTest, AReadOnlyFolderIsOneClearError) {
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

TEST_F(RunFolderTest, NamesAreStrict) {
  EXPECT_EQ(checkpoint_step("checkpoint-120"), 120);
  for (const char* name :
       {"checkpoint-", "checkpoint-1x", "checkpoint--1", "checkpoint-01", "tmp-checkpoint-1", "x"}) {
    EXPECT_EQ(checkpoint_step(name), -1) << name;
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

TEST_F(RunFolderTest, SurvivesSigkillAtAnyMoment) {
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
