#include "fovea/train/progress.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <locale>

namespace fovea::train {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

ProgressOptions with_clock(const double& now, int64_t total) {
  ProgressOptions options;
  options.total = total;
  options.clock = [&now] { return now; };
  return options;
}

Progress example() {
  Progress progress;
  progress.step = 420;
  progress.total = 1000;
  progress.loss = 0.31214;
  progress.accuracy = 88.517;
  progress.samples_per_second = 1830.4;
  progress.seconds_left = 72.2;
  return progress;
}

TEST(ProgressMeter, ASteadyPaceIsExact) {
  double now = 100;
  ProgressMeter meter(with_clock(now, 1000));
  for (int step = 1; step <= 10; ++step) {
    now += 0.5;
    const Progress progress = meter.update({step, 32, 2.0, 50.0});
    EXPECT_NEAR(progress.samples_per_second, 64, 1e-9);
    EXPECT_NEAR(progress.seconds_left, 0.5 * (1000 - step), 1e-9);
    EXPECT_NEAR(progress.seconds, 0.5 * step, 1e-9);
    EXPECT_NEAR(progress.loss, 2.0, 1e-12);
    EXPECT_NEAR(progress.accuracy, 50.0, 1e-12);
  }
}

TEST(ProgressMeter, FollowsAChangeOfPaceWithItsTimeConstant) {
  double now = 0;
  auto options = with_clock(now, 100000);
  options.smoothing_seconds = 10;
  ProgressMeter meter(options);
  Progress progress;
  int step = 0;
  for (int i = 0; i < 2000; ++i) now += 0.1, progress = meter.update({++step, 10, kNan, kNan});
  EXPECT_NEAR(progress.samples_per_second, 100, 1e-6);
  for (int i = 0; i < 50; ++i) now += 0.2, progress = meter.update({++step, 10, kNan, kNan});
  // After one time constant at 50 samples/s: 50 + 50 / e.
  EXPECT_NEAR(progress.samples_per_second, 50 + 50 / std::exp(1.0), 1e-6);
  EXPECT_TRUE(std::isnan(progress.loss));
}

TEST(ProgressMeter, ResumedRunsCountOnlyTheirOwnSteps) {
  double now = 0;
  auto options = with_clock(now, 100);
  options.first_step = 60;
  ProgressMeter meter(options);
  now = 2;
  const Progress progress = meter.update({61, 8, 1.0, kNan});
  EXPECT_NEAR(progress.seconds_left, 78, 1e-9);
  EXPECT_NEAR(progress.samples_per_second, 4, 1e-9);
}

TEST(ProgressMeter, AClockThatStandsStillDividesNothingByZero) {
  double now = 5;
  ProgressMeter meter(with_clock(now, 10));
  Progress progress = meter.update({1, 8, 1.0, kNan});
  EXPECT_TRUE(std::isnan(progress.samples_per_second));
  EXPECT_TRUE(std::isnan(progress.seconds_left));
  now = 6;
  progress = meter.update({2, 8, 1.0, kNan});
  EXPECT_NEAR(progress.samples_per_second, 16, 1e-9);
  EXPECT_NEAR(progress.seconds_left, 8 * 0.5, 1e-9);
}

TEST(ProgressMeter, LossIsSmoothedBySteps) {
  double now = 0;
  auto options = with_clock(now, 0);
  options.smoothing_steps = 1;
  ProgressMeter meter(options);
  const double keep = std::exp(-1.0);
  now = 1;
  EXPECT_NEAR(meter.update({1, 1, 4.0, kNan}).loss, 4.0, 1e-12);
  now = 2;
  const double wanted = ((1 - keep) * 2.0 + keep * (1 - keep) * 4.0) / (1 - keep * keep);
  EXPECT_NEAR(meter.update({2, 1, 2.0, kNan}).loss, wanted, 1e-12);
}

TEST(ProgressLine, FitsTheTerminal) {
  EXPECT_EQ(terminal_line(example(), 79),
            " 42% [==>     ] 420/1000  loss 0.3121  acc 88.52%  1830 samples/s  0:01:12 left");
  EXPECT_EQ(terminal_line(example(), 60), " 42% 420/1000  loss 0.3121  acc 88.52%  1830 samples/s");
  EXPECT_EQ(terminal_line(example(), 30), " 42% 420/1000  loss 0.3121");
  EXPECT_EQ(terminal_line(example(), 4), " 42%");
  EXPECT_EQ(terminal_line(example(), 0), "");
  for (int width = 0; width < 200; ++width) {
    EXPECT_LE(terminal_line(example(), width).size(), static_cast<size_t>(width));
  }
  Progress done = example();
  done.step = 1000;
  EXPECT_EQ(terminal_line(done, 200).substr(0, 37), "100% [==============================]");
  Progress open = example();
  open.total = 0;
  EXPECT_EQ(terminal_line(open, 60), "420  loss 0.3121  acc 88.52%  1830 samples/s");
}

TEST(ProgressLine, IsPlainForFiles) {
  EXPECT_EQ(plain_line(example()), "step 420/1000  loss 0.3121  acc 88.52%  1830 samples/s  0:01:12 left");
  Progress early = example();
  early.loss = early.accuracy = early.samples_per_second = early.seconds_left = kNan;
  EXPECT_EQ(plain_line(early), "step 420/1000  -:--:-- left");
  Progress slow = example();
  slow.samples_per_second = 0.25;
  EXPECT_EQ(plain_line(slow), "step 420/1000  loss 0.3121  acc 88.52%  0.25 samples/s  0:01:12 left");
}

TEST(ProgressLine, IgnoresTheLocale) {
  struct Comma : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
  };
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new Comma));
  const std::string line = plain_line(example());
  std::locale::global(before);
  EXPECT_EQ(line, plain_line(example()));
}

TEST(ProgressLine, Durations) {
  EXPECT_EQ(format_duration(0), "0:00:00");
  EXPECT_EQ(format_duration(59.6), "0:01:00");
  EXPECT_EQ(format_duration(93780), "26:03:00");
  EXPECT_EQ(format_duration(kNan), "-:--:--");
  EXPECT_EQ(format_duration(-1), "-:--:--");
}

}  // namespace
}  // namespace fovea::train
