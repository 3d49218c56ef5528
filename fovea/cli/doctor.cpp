#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "fovea/cli/commands.h"
#include "fovea/cli/console.h"
#include "fovea/cli/system_report.h"

namespace fovea::cli {
namespace {

double gibibytes(const nlohmann::ordered_json& bytes) { return bytes.get<double>() / (1 << 30); }

std::string report_text(const nlohmann::ordered_json& report) {
  const auto text = [](const nlohmann::ordered_json& value) {
    return value.is_string() ? value.get<std::string>() : value.dump();
  };
  std::string out;
  const auto line = [&](const char* name, const std::string& value) {
    out += fmt::format("{:<12}{}\n", name, value);
  };
  line("fovea", text(report["fovea"]));
  line("compiler", text(report["compiler"]));
  line("system", text(report["system"]));
  line("libtorch",
       fmt::format("{} (needs {})", text(report["torch"]["loaded"]), text(report["torch"]["needed"])));
  line("cpu", text(report["cpu"]["name"]));
  line("features",
       fmt::format("{}", fmt::join(report["cpu"]["features"].get<std::vector<std::string>>(), " ")));
  line("isa",
       fmt::format("{} (detected {})", text(report["isa"]["active"]), text(report["isa"]["detected"])));
  line("threads",
       fmt::format("{} of {}", text(report["threads"]["used"]), text(report["threads"]["hardware"])));
  line("openmp", report["openmp"]["chunks_of_two_threads"] == 2 ? "parallel" : "NOT parallel");
  line("memory", fmt::format("{:.1f} GiB, {:.1f} available", gibibytes(report["memory_bytes"]["total"]),
                             gibibytes(report["memory_bytes"]["available"])));
  line("disk", fmt::format("{:.1f} GiB free here", gibibytes(report["disk_bytes"]["free_here"])));
  for (const auto& place : report["data"]) {
    line("data", fmt::format("{}: {}{}", text(place["name"]), text(place["path"]),
                             place["found"].get<bool>() ? "" : " (not there)"));
  }
  for (const auto& problem : report["problems"]) line("PROBLEM", text(problem));
  return out;
}

int run_doctor(const Call& call) {
  const auto report = system_report();
  if (call.has("--json")) {
    print_json(report);
  } else {
    print(report_text(report));
  }
  return report["problems"].empty() ? 0 : 1;
}

}  // namespace

Command doctor_command() {
  return {.name = "doctor",
          .help = "tell what this program and machine can do; exits 1 when something is wrong",
          .example = "fovea doctor --json",
          .arguments = {json_flag()},
          .run = run_doctor};
}

}  // namespace fovea::cli
