#include "fovea/cli/device.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <future>
#include <system_error>
#include <thread>
#include <vector>

#include "fovea/cli/system_report.h"
#include "fovea/core/error.h"

namespace fovea::cli {
namespace {

// More than this is a slip: libtorch's threads beyond the cores only wait for each other.
int64_t most_threads() { return std::max<int64_t>(256, 4 * int64_t{std::thread::hardware_concurrency()}); }

// libtorch waits for ever for threads that the system refuses to start, so they are tried here, all at once.
void require_threads(int64_t wanted) {
  std::vector<std::thread> threads;
  std::promise<void> end;
  const std::shared_future<void> ended = end.get_future().share();
  std::string fault;
  try {
    while (static_cast<int64_t>(threads.size()) < wanted) threads.emplace_back([ended] { ended.wait(); });
  } catch (const std::system_error& error) {
    fault = error.code().message();
  }
  end.set_value();
  for (auto& thread : threads) thread.join();
  if (fault.empty()) return;
  throw Error(
      ErrorKind::other, "threads",
      fmt::format("{} threads are wanted, the system starts {}: {}. Lower --threads, or raise the limits "
                  "on processes and memory (ulimit -u, -v).",
                  wanted + 1, threads.size() + 1, fault));
}

}  // namespace

void apply_device_and_threads(const Call& call, int64_t configured) {
  if (const std::string fault = torch_fault(); !fault.empty())
    throw Error(ErrorKind::other, "libtorch", fault);
  if (const auto device = call.get("--device"); device && *device != "cpu") {
    throw usage_error(call.command(),
                      fmt::format("--device takes cpu, the only one in this build; found '{}'. "
                                  "Leave the flag out.",
                                  *device));
  }
  const int64_t threads = call.get_int("--threads", 1).value_or(configured);
  if (threads > most_threads()) {
    throw usage_error(call.command(),
                      fmt::format("--threads takes at most {}; found {}. Give the number of cores.",
                                  most_threads(), threads));
  }
  if (threads <= 0) return;
  require_threads(threads - 1);
  at::set_num_threads(static_cast<int>(threads));
}

}  // namespace fovea::cli
