#include "fovea/io/shard_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "fovea/io/file.h"
#include "fovea/io/safetensors.h"
#include "fovea/io/utf8.h"

namespace fovea::io {
namespace {

using Fault = SafetensorsFault;

constexpr uint64_t kMaxIndex = 100'000'000;
constexpr int kMaxDepth = 32;
constexpr std::string_view kIndexSuffix = ".safetensors.index.json", kSuffix = ".safetensors";

[[noreturn]] void fail_index(const std::filesystem::path& path, std::string_view rule,
                             std::string_view found) {
  throw SafetensorsError(Fault::bad_index, path.string(),
                         fmt::format("{}; found {}. Get the index anew, or name a shard.", rule, found));
}

// nlohmann keeps the last of two equal keys without a word; then two readers would see two models.
nlohmann::json parse_index(const std::filesystem::path& path) {
  const std::string text = read_file(path, kMaxIndex, ErrorKind::model_file);
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& value) {
    using Event = nlohmann::json::parse_event_t;
    if (depth > kMaxDepth) fail_index(path, "an index must not be nested deeply", "more than 32 levels");
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(value.get<std::string>()).second) {
      fail_index(path, "keys must differ", quote_text(value.get<std::string>()) + " twice");
    }
    return true;
  };
  // Its reader takes a zero byte for the end of the text.
  if (text.find('\0') != std::string::npos) fail_index(path, "an index must be JSON text", "a zero byte");
  try {
    return nlohmann::json::parse(text, watch);
  } catch (const nlohmann::json::exception& error) {
    fail_index(path, "an index must be JSON text", quote_text(error.what(), 200));
  }
}

}  // namespace

std::map<std::string, std::string> read_shard_index(const std::filesystem::path& path) {
  const nlohmann::json index = parse_index(path);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    fail_index(path, "an index must have an object `weight_map`", "none");
  }
  std::map<std::string, std::string> shards;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    if (!file.is_string())
      fail_index(path, "weight_map must name a file for each tensor", quote_text(file.dump()));
    const std::string name = file;
    if (name.empty() || name == "." || name == ".." ||
        name.find_first_of(std::string_view("/\\\0", 3)) != name.npos) {
      throw SafetensorsError(
          Fault::shard_outside, path.string(),
          fmt::format("a shard must be a plain file name beside the index; found {} for {}. Do not "
                      "trust this model.",
                      quote_text(name), quote_text(tensor)));
    }
    shards.emplace(tensor, name);
  }
  return shards;
}

std::filesystem::path find_model_file(const std::filesystem::path& path) {
  // The calls that take an error code: the others throw an exception of their own.
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) return path;
  for (const char* usual : {"model.safetensors", "model.safetensors.index.json"}) {
    if (std::filesystem::exists(path / usual, error)) return path / usual;
  }
  std::vector<std::filesystem::path> indices, files;
  std::filesystem::directory_iterator entry(path, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.ends_with(kIndexSuffix)) indices.push_back(entry->path());
    if (name.ends_with(kSuffix)) files.push_back(entry->path());
  }
  if (indices.size() == 1) return indices.front();
  if (indices.empty() && files.size() == 1) return files.front();
  throw SafetensorsError(
      Fault::no_model_here, path.string(),
      fmt::format("a model folder has one model.safetensors or index; found {} indices and {} "
                  ".safetensors files. Name the file.",
                  indices.size(), files.size()));
}

bool is_shard_index(const std::filesystem::path& path) { return path.extension() == ".json"; }

}  // namespace fovea::io
