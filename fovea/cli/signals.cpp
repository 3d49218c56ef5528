#include "fovea/cli/signals.h"

#include <unistd.h>

#include <csignal>

namespace fovea::cli {
namespace {

std::atomic<bool> stop{false};
std::atomic<int> came{0};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free,
              "a signal handler may touch lock-free atomics only");

void on_signal(int signal) {
  if (came.exchange(signal) != 0) _exit(128 + signal);
  stop.store(true);
}

void install(void (*handler)(int)) {
  struct sigaction action {
  }, before{};
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  // Writes of a checkpoint in progress go on instead of failing with EINTR.
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    // Ignored by the caller (nohup, a shell's background jobs): it shall stay so.
    if (sigaction(signal, nullptr, &before) == 0 && before.sa_handler == SIG_IGN) continue;
    sigaction(signal, &action, nullptr);
  }
}

}  // namespace

void ignore_write_signals() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

StopOnSignal::StopOnSignal() {
  stop.store(false);
  came.store(0);
  install(on_signal);
}

StopOnSignal::~StopOnSignal() { install(SIG_DFL); }

const std::atomic<bool>& StopOnSignal::flag() { return stop; }

int StopOnSignal::exit_code() {
  const int signal = came.load();
  return signal == 0 ? 0 : 128 + signal;
}

}  // namespace fovea::cli
