#include "fovea/cli/device.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "fovea/cli/system_report.h"
#include "fovea/core/error.h"

namespace fovea::cli {

void apply_device_and_threads(const Call& call, int64_t configured) {
  if (const std::string fault = torch_fault(); !fault.empty())
    throw Error(ErrorKind::other, "libtorch", fault);
  constexpr int64_t kMostThreads = 4096;
  if (const auto device = call.get("--device"); device && *device != "cpu") {
    throw usage_error(call.command(),
                      fmt::format("--device takes cpu, the only one in this build; found '{}'. "
                                  "Leave the flag out.",
                                  *device));
  }
  const int64_t threads = call.get_int("--threads", 1).value_or(configured);
  if (threads > kMostThreads) {
    throw usage_error(call.command(),
                      fmt::format("--threads takes at most {}; found {}. Give the number of cores.",
                                  kMostThreads, threads));
  }
  if (threads > 0) at::set_num_threads(static_cast<int>(threads));
}

}  // namespace fovea::cli
