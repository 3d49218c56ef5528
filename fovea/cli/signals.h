#pragma once
#include <atomic>

namespace fovea::cli {

/// Makes the process answer signals as the program promises: SIGPIPE and SIGXFSZ become errors of the write
/// that caused them. SIGINT, SIGTERM and SIGHUP keep their default (end at once) until a StopOnSignal exists.
void ignore_write_signals();

/// While it lives, a first SIGINT, SIGTERM or SIGHUP only raises a flag, and a second one ends the process at
/// once. One that the caller had ignored stays ignored. One at a time.
class StopOnSignal {
 public:
  StopOnSignal();
  ~StopOnSignal();
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;

  /// True once a signal came; the trainer looks at it between steps.
  static const std::atomic<bool>& flag();
  /// 128 + the signal's number (129 for SIGHUP, 130 for SIGINT, 143 for SIGTERM), or 0.
  static int exit_code();
};

}  // namespace fovea::cli
