#pragma once
#include <cstdint>
#include <string>

namespace fovea::train {

/// How far a long piece of work is; what is not known is NaN.
struct Progress {
  int64_t step = 0, total = 0;  ///< total 0: unknown
  double loss = 0;
  double accuracy = 0;  ///< percent
  double samples_per_second = 0;
  double seconds_left = 0;
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
