#include "fovea/cli/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "fovea/cli/signals.h"
#include "fovea/core/error.h"

namespace fovea::cli {
namespace {

constexpr const char* kParent = "FOVEA_PARENT";

// Pointers into the strings, with a null behind them.
std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (auto& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// This program's, and whose child it is.
std::vector<std::string> child_environment() {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  environment.push_back(fmt::format("{}={}", kParent, getpid()));
  return environment;
}

class SpawnPlan {
 public:
  explicit SpawnPlan(const std::string& stdout_to) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO, stdout_to.c_str(),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0666);
    posix_spawnattr_init(&attributes_);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  pid_t start(const std::vector<std::string>& words) const {
    std::vector<std::string> all = {"fovea"}, environment = child_environment();
    all.insert(all.end(), words.begin(), words.end());
    pid_t child = -1;
    const int failure = posix_spawn(&child, "/proc/self/exe", &actions_, &attributes_,
                                    pointers_to(all).data(), pointers_to(environment).data());
    if (failure != 0) {
      throw Error(ErrorKind::other, "child",
                  fmt::format("this program must be able to start itself; found: {}. Is /proc "
                              "mounted, and is there room for the output?",
                              std::strerror(failure)));
    }
    return child;
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

}  // namespace

ChildEnd run_child(const std::vector<std::string>& words, const std::filesystem::path& stdout_to) {
  const pid_t child = SpawnPlan(stdout_to.string()).start(words);
  bool passed_on = false;
  int status = 0;
  rusage usage{};
  // A signal does not end a wait (SA_RESTART), so this looks from time to time.
  while (wait4(child, &status, WNOHANG, &usage) == 0) {
    if (StopOnSignal::flag() && !passed_on) {
      kill(child, StopOnSignal::exit_code() - 128);
      passed_on = true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  const int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return {code, usage.ru_maxrss * int64_t{1024}};
}

void end_with_parent() {
  const char* parent = std::getenv(kParent);
  if (parent == nullptr) return;
  const bool alive = prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && std::to_string(getppid()) == parent;
  unsetenv(kParent);
  // It ended before it was asked for.
  if (!alive) raise(SIGTERM);
}

}  // namespace fovea::cli
