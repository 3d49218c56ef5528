#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace fovea::cli {

/// The version of the libtorch that is loaded, as "2.11.0"; empty when it does not say.
std::string loaded_torch_version();

/// What is wrong with the loaded libtorch, with the remedy; empty when it is the one that the program was
/// built for.
std::string torch_fault();

/// How many pieces at::parallel_for makes of its work with two threads: 1 means that OpenMP is missing from
/// the build.
int64_t parallel_chunks();

/// Everything that `fovea doctor` shows, with "problems": what is wrong, each with its remedy.
nlohmann::ordered_json system_report();

}  // namespace fovea::cli
