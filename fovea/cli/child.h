#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace fovea::cli {

/// How a child ended: its exit code, 128 + a signal's number where that ended it, and the most memory that
/// was resident at once.
struct ChildEnd {
  int exit_code = 0;
  int64_t peak_bytes = 0;
};

/// Runs this very program with these words and waits. stdout goes to a file, stdin is empty, stderr is
/// shared. The child has a process group of its own: a signal that StopOnSignal notes is passed on once.
/// Throws Error (other) when it cannot be started.
ChildEnd run_child(const std::vector<std::string>& words, const std::filesystem::path& stdout_to);

/// In a child of run_child(): SIGTERM comes as soon as the parent has ended, by kill -9 too. Elsewhere
/// nothing. To be called before any other thread starts.
void end_with_parent();

}  // namespace fovea::cli
