#include "fovea/train/progress.h"

#include <gtest/gtest.h>

#include <locale>

#include "tests/support/numbers.h"

namespace fovea::train {
namespace {

using test::kNan;

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
