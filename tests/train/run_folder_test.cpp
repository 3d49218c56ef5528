// Checkpoints and run folders under flipped bytes, missing files and other processes.
#include "fovea/train/run_folder.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iomanip>
#include <sstream>

#include "fovea/core/error.h"
#include "fovea/io/crc32c.h"
#include "fovea/io/file.h"
#include "tests/support/errors.h"
#include "tests/train/run_folder_fixture.h"

namespace fovea::train {
namespace {

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

TEST_F(RunFolderTest, NamesAreStrict) {
  EXPECT_EQ(checkpoint_step("checkpoint-120"), 120);
  for (const char* name :
       {"checkpoint-", "checkpoint-1x", "checkpoint--1", "checkpoint-01", "tmp-checkpoint-1", "x"}) {
    EXPECT_EQ(checkpoint_step(name), -1) << name;
  }
}

}  // namespace
}  // namespace fovea::train
