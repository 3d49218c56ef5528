#pragma once
#include <exception>
#include <string>

namespace fovea::cli {

/// What the program says about an error, and how it exits.
struct Failure {
  /// One line: where, what, what to do.
  std::string line;
  int exit_code = 1;
};

/// Puts any exception into the program's form: fovea's own errors as they are; libtorch's without backtrace,
/// with a remedy; memory that ran out; a file system's refusal.
Failure describe_failure(const std::exception_ptr& error);

}  // namespace fovea::cli
