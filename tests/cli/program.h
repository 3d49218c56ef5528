#pragma once
#include <gtest/gtest.h>
#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace fovea::cli_test {

/// How a call of the program ended.
struct Ended {
  int exit_code = -1;  ///< -1 when a signal ended it
  int signal = 0;
  std::string out, err;

  /// Whether stderr is exactly one line that contains every one of `parts`.
  ::testing::AssertionResult is_one_line_with(const std::vector<std::string>& parts) const;
  /// stdout as JSON; fails the test when it is none.
  nlohmann::json json() const;
};

struct CallOptions {
  /// NAME=value, added to the environment.
  std::vector<std::string> environment = {};
  /// RLIMIT_FSIZE in bytes; 0 = none.
  uint64_t largest_file = 0;
  /// Where stdout goes instead of Ended::out.
  std::string stdout_to = {};
  /// stdout is a pipe that nobody reads any more.
  bool closed_stdout = false;
  /// A line of sh that starts the program as "$@", as `exec "$@" >&-`; empty: it is started without a shell.
  std::string shell = {};
  /// stderr is a terminal of so many columns; what it shows is Ended::err. 0 = no terminal.
  int terminal_columns = 0;
};

/// A program that runs.
class Running {
 public:
  Running(const std::vector<std::string>& arguments, const CallOptions& options = {});
  ~Running();
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  void send(int signal) const;
  /// Waits until `ready` says so, the program ended, or `seconds` passed; returns what `ready` said last.
  bool wait_until(const std::function<bool()>& ready, double seconds = 60) const;
  Ended wait();

 private:
  pid_t process_ = -1;
  int terminal_ = -1;
  std::filesystem::path out_, err_;
};

/// Runs the program to its end.
Ended run_fovea(const std::vector<std::string>& arguments, const CallOptions& options = {});

}  // namespace fovea::cli_test
