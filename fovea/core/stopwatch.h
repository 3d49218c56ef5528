#pragma once
#include <time.h>

#include <algorithm>
#include <functional>
#include <vector>

namespace fovea {

/// Milliseconds of repeated runs of one thing.
struct Timing {
  double best_wall = 0.0;
  double median_wall = 0.0;
  /// CPU time of the calling thread alone: what wall time would be on a machine with nothing else to do.
  double best_cpu = 0.0;
  double median_cpu = 0.0;
  int runs = 0;
};

struct TimingOptions {
  int warm_up = 2;
  int min_runs = 5;
  /// Runs are repeated until both this and min_runs are reached.
  double min_seconds = 1.0;
};

inline double milliseconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Times `run`. The best is what the machine can do, the median what one meets.
inline Timing time_runs(const std::function<void()>& run, const TimingOptions& options) {
  for (int i = 0; i < options.warm_up; ++i) run();
  std::vector<double> wall, cpu;
  const double end = milliseconds(CLOCK_MONOTONIC) + options.min_seconds * 1e3;
  while (static_cast<int>(wall.size()) < options.min_runs || milliseconds(CLOCK_MONOTONIC) < end) {
    const double wall_start = milliseconds(CLOCK_MONOTONIC);
    const double cpu_start = milliseconds(CLOCK_THREAD_CPUTIME_ID);
    run();
    cpu.push_back(milliseconds(CLOCK_THREAD_CPUTIME_ID) - cpu_start);
    wall.push_back(milliseconds(CLOCK_MONOTONIC) - wall_start);
  }
  return {*std::min_element(wall.begin(), wall.end()), median(wall),
          *std::min_element(cpu.begin(), cpu.end()), median(cpu), static_cast<int>(wall.size())};
}

}  // namespace fovea
