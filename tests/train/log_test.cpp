#include "fovea/train/log.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <nlohmann/json.hpp>

#include "fovea/core/error.h"
#include "fovea/io/file.h"
#include "tests/io/scratch.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace fovea::train {
namespace {

using Json = nlohmann::ordered_json;

TEST(MetricsLog, WritesOneObjectALineAtOnce) {
  const io::ScratchFolder folder;
  MetricsLog log(folder / "metrics.jsonl");
  log.write({{"step", 1}, {"loss", 0.25}, {"note", "a\nb"}});
  EXPECT_EQ(io::read_file(folder / "metrics.jsonl"), "{\"step\":1,\"loss\":0.25,\"note\":\"a\\nb\"}\n");
  log.write({{"step", 2}});
  log.sync();
  const auto records = read_log(folder / "metrics.jsonl");
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0]["loss"], 0.25);
  EXPECT_EQ(records[1]["step"], 2);
}

TEST(MetricsLog, NumbersThatJsonLacksComeBack) {
  const io::ScratchFolder folder;
  using test::kInfinity, test::kNan;
  MetricsLog(folder / "log")
      .write({{"step", 1}, {"loss", kNan}, {"inner", {{"list", {kInfinity, -kInfinity, 0.1}}}}});
  EXPECT_EQ(io::read_file(folder / "log"),
            "{\"step\":1,\"loss\":\"NaN\",\"inner\":{\"list\":[\"Infinity\",\"-Infinity\",0.1]}}\n");
  const Json record = read_log(folder / "log")[0];
  EXPECT_TRUE(std::isnan(record["loss"].get<double>()));
  EXPECT_EQ(record["inner"]["list"][0].get<double>(), kInfinity);
  EXPECT_EQ(record["inner"]["list"][1].get<double>(), -kInfinity);
  EXPECT_EQ(record["inner"]["list"][2].get<double>(), 0.1);
}

TEST(MetricsLog, AnUnfinishedLastLineIsDropped) {
  const io::ScratchFolder folder;
  io::spill(folder / "log", "{\"step\":1}\n{\"step\":2,\"lo");
  EXPECT_EQ(read_log(folder / "log").size(), 1u);
  MetricsLog(folder / "log").write({{"step", 2}});
  EXPECT_EQ(io::read_file(folder / "log"), "{\"step\":1}\n{\"step\":2}\n");
}

TEST(MetricsLog, ResumingDropsLaterSteps) {
  const io::ScratchFolder folder;
  io::spill(folder / "log", "{\"step\":1}\n{\"step\":2}\n{\"step\":2,\"val\":1}\n{\"step\":3}\n{\"st");
  MetricsLog(folder / "log", 2).write({{"step", 3}, {"again", true}});
  EXPECT_EQ(io::read_file(folder / "log"),
            "{\"step\":1}\n{\"step\":2}\n{\"step\":2,\"val\":1}\n{\"step\":3,\"again\":true}\n");
  MetricsLog(folder / "log", 0);
  EXPECT_EQ(io::read_file(folder / "log"), "");
}

TEST(MetricsLog, ADamagedLineIsNamed) {
  const io::ScratchFolder folder;
  io::spill(folder / "log", "{\"step\":1}\nnonsense\n{\"step\":2}\n");
  expect_error(ErrorKind::data, {"line 2"}, [&] { read_log(folder / "log"); });
  expect_error(ErrorKind::data, {"line 2"}, [&] { MetricsLog log(folder / "log"); });
  io::spill(folder / "log", "{\"step\":\"one\"}\n");
  expect_error(ErrorKind::data, {"line 1"}, [&] { read_log(folder / "log"); });
  expect_error(ErrorKind::data, {"none"}, [&] { read_log(folder / "none"); });
  expect_error(ErrorKind::usage, {"step"}, [&] { MetricsLog(folder / "new").write({{"loss", 1}}); });
}

TEST(MetricsLog, AFullDiskLeavesWholeLines) {
  const io::ScratchFolder folder;
  MetricsLog log(folder / "log");
  log.write({{"step", 1}});
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{20, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  expect_error(ErrorKind::other, {"File too large"}, [&] {
    log.write({{"step", 2}, {"text", std::string(100, 'x')}});
  });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(io::read_file(folder / "log"), "{\"step\":1}\n");
  log.write({{"step", 2}});
  EXPECT_EQ(read_log(folder / "log").size(), 2u);
}

}  // namespace
}  // namespace fovea::train
