#pragma once
#include <cstdint>
#include <functional>
#include <string>

namespace fovea::train {

/// How far a long piece of work is.
struct Progress {
  int64_t step = 0, total = 0;    ///< total 0: unknown
  double loss = 0;                ///< smoothed; NaN before the first value
  double accuracy = 0;            ///< percent, smoothed; NaN when not known
  double samples_per_second = 0;  ///< smoothed; NaN before two readings
  double seconds = 0;             ///< since the meter began
  double seconds_left = 0;        ///< NaN when not known
};

struct ProgressOptions {
  int64_t total = 0;       ///< steps of the whole work; 0: unknown
  int64_t first_step = 0;  ///< steps already done when the meter begins (a resumed run)
  /// Time after which a reading's weight in the rates has fallen to 1/e.
  double smoothing_seconds = 10;
  /// Steps after which a value's weight in loss and accuracy has fallen to 1/e.
  double smoothing_steps = 20;
  /// Seconds from any origin, never going back; the steady clock by default.
  std::function<double()> clock;
};

struct ProgressReading {
  int64_t step = 0;     ///< steps done in all
  int64_t samples = 0;  ///< since the last reading
  double loss = 0;      ///< of the last step; NaN: not known
  double accuracy = 0;  ///< percent; NaN: not known
};

/// Turns readings into Progress by exponential smoothing.
///   weight w = 1 - exp(-dt / tau); rate += w (new - rate); biases of the start are divided out, so that the
///   first reading counts in full.
class ProgressMeter {
 public:
  explicit ProgressMeter(const ProgressOptions& options);
  Progress update(const ProgressReading& reading);

 private:
  // An exponential mean that starts empty: value = sum / weight.
  struct Mean {
    double sum = 0, weight = 0;
    void add(double value, double share);
    double value() const;
  };

  ProgressOptions options_;
  double start_, last_;
  int64_t value_step_, rate_step_, pending_samples_ = 0;
  Mean loss_, accuracy_, samples_rate_, step_seconds_;
};

/// One line for a terminal, at most `width` characters, ASCII, no newline:
///   ` 42% [=======>      ] 420/1000  loss 0.3121  acc 88.52%  1830 samples/s  0:01:12 left`
/// A narrow terminal loses the bar first, then the fields from the right. Digits do not depend on the locale.
std::string terminal_line(const Progress& progress, int width);

/// One line for a log file: `step 420/1000  loss 0.3121  acc 88.52%  1830 samples/s  0:01:12 left`.
std::string plain_line(const Progress& progress);

/// `0:01:12`, `26:03:00`; `-:--:--` for NaN.
std::string format_duration(double seconds);

}  // namespace fovea::train
