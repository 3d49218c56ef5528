#pragma once
#include <chrono>
#include <string_view>

#include "fovea/train/progress.h"

namespace fovea::cli {

/// Shows how far long work is, on stderr: one line redrawn on a terminal, elsewhere a plain line every few
/// seconds.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// Shows `progress` if it is time to; the last step always is.
  void show(const train::Progress& progress);

  /// A line that stays: the drawn one is wiped first.
  void say(std::string_view line);

 private:
  void wipe();

  using Clock = std::chrono::steady_clock;
  bool terminal_;
  bool drawn_ = false;
  Clock::time_point next_;
};

}  // namespace fovea::cli
