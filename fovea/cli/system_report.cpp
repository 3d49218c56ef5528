#include "fovea/cli/system_report.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "fovea/cli/data_places.h"
#include "fovea/core/error.h"
#include "fovea/core/isa.h"
#include "fovea/core/version.h"

namespace fovea::cli {
namespace {

using nlohmann::ordered_json;

constexpr const char* kTorchVersion = "2.11.0";

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

int64_t memory_bytes(const std::string& field) {
  std::ifstream info("/proc/meminfo");
  std::string name;
  int64_t kibibytes = 0;
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with(field + ":")) continue;
    kibibytes = std::atoll(line.c_str() + field.size() + 1);
    return kibibytes * 1024;
  }
  return 0;
}

// Two copies of an OpenMP library in one process make two pools of threads that fight for the cores.
std::vector<std::string> openmp_libraries() {
  std::set<std::string> found;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const auto slash = line.find('/');
    if (slash == std::string::npos) continue;
    const std::string file = std::filesystem::path(line.substr(slash)).filename().string();
    if (file.starts_with("libgomp") || file.starts_with("libomp") || file.starts_with("libiomp")) {
      found.insert(line.substr(slash));
    }
  }
  return {found.begin(), found.end()};
}

ordered_json isa_report(std::vector<std::string>& problems) {
  ordered_json isa = {{"detected", isa_name(detected_isa())}};
  try {
    isa["active"] = isa_name(active_isa());
  } catch (const Error& error) {
    isa["active"] = nullptr;
    problems.emplace_back(error.what());
  }
  return isa;
}

ordered_json torch_report(std::vector<std::string>& problems) {
  if (const std::string fault = torch_fault(); !fault.empty()) problems.push_back("[libtorch] " + fault);
  return {{"needed", kTorchVersion}, {"loaded", loaded_torch_version()}};
}

ordered_json openmp_report(std::vector<std::string>& problems) {
  const int64_t chunks = parallel_chunks();
  const auto libraries = openmp_libraries();
  if (chunks < 2) {
    problems.emplace_back(
        "[openmp] work is not divided among threads. Build with -fopenmp (the CMake files do).");
  }
  if (libraries.size() > 1) {
    problems.push_back(fmt::format(
        "[openmp] {} OpenMP libraries are loaded. Unset LD_PRELOAD and LD_LIBRARY_PATH.", libraries.size()));
  }
  return {{"chunks_of_two_threads", chunks}, {"libraries", libraries}};
}

ordered_json data_report() {
  ordered_json found = ordered_json::array();
  for (const auto& place : data_places()) {
    found.push_back({{"name", place.name}, {"path", place.path}, {"found", place.found}});
  }
  return found;
}

}  // namespace

std::string loaded_torch_version() {
  const std::string config = at::show_config();
  const std::string key = "TORCH_VERSION=";
  const auto at = config.find(key);
  if (at == std::string::npos) return {};
  const auto begin = at + key.size();
  return config.substr(begin, config.find_first_not_of("0123456789.", begin) - begin);
}

std::string torch_fault() {
  const std::string loaded = loaded_torch_version();
  if (loaded == kTorchVersion) return {};
  return fmt::format(
      "this program needs {}; loaded is '{}'. Unset LD_LIBRARY_PATH, or run scripts/setup and build again.",
      kTorchVersion, loaded);
}

int64_t parallel_chunks() {
  const int threads = at::get_num_threads();
  at::set_num_threads(2);
  std::set<int64_t> begins;
  std::mutex guard;
  at::parallel_for(0, 2, 1, [&](int64_t begin, int64_t) {
    const std::lock_guard lock(guard);
    begins.insert(begin);
  });
  at::set_num_threads(threads);
  return static_cast<int64_t>(begins.size());
}

ordered_json system_report() {
  std::vector<std::string> problems;
  utsname system{};
  uname(&system);
  ordered_json report;
  report["fovea"] = kVersion;
  report["compiler"] = fmt::format("{} ({})", __VERSION__, __cplusplus);
  report["system"] = fmt::format("{} {} {}", system.sysname, system.release, system.machine);
  report["torch"] = torch_report(problems);
  report["cpu"] = {{"name", cpu_name()}, {"features", cpu_features()}};
  report["isa"] = isa_report(problems);
  report["threads"] = {{"hardware", std::thread::hardware_concurrency()}, {"used", at::get_num_threads()}};
  report["openmp"] = openmp_report(problems);
  report["memory_bytes"] = {{"total", memory_bytes("MemTotal")}, {"available", memory_bytes("MemAvailable")}};
  std::error_code ignored;
  const auto space = std::filesystem::space(".", ignored);
  report["disk_bytes"] = {{"free_here", ignored ? 0 : space.available}};
  report["data"] = data_report();
  report["problems"] = problems;
  return report;
}

}  // namespace fovea::cli
