#include "fovea/train/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <system_error>
#include <vector>

#include "fovea/core/error.h"
#include "fovea/io/crc32c.h"
#include "fovea/io/file.h"
#include "fovea/io/json_text.h"

namespace fovea::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kModel = "model.safetensors";
constexpr const char* kState = "state.safetensors";
constexpr const char* kConfig = "config.json";
constexpr const char* kManifest = "manifest.json";

std::string hex(uint32_t value) { return fmt::format("{:08x}", value); }

/// Size and check sum of a file as they stand on the disk.
json fingerprint(const fs::path& path) {
  const io::MappedFile file(path, ErrorKind::model_file);
  return {{"size", file.bytes().size()}, {"crc32c", hex(io::crc32c(file.bytes()))}};
}

/// The text of a manifest: canonical, and with a check sum of itself, so that a flipped byte anywhere in it
/// shows.
std::string manifest_text(json manifest) {
  manifest.erase("check");
  manifest["check"] = hex(io::crc32c(io::as_bytes(manifest.dump())));
  return manifest.dump(1) + "\n";
}

/// Discarded where it is no JSON, or none that can be read safely.
json parse(const std::string& text) {
  if (!io::json_text_fault(text).empty()) return json(json::value_t::discarded);
  return json::parse(text, nullptr, false);
}

json read_json(const fs::path& path) {
  json value = parse(io::read_file(path, io::kLargestJson, ErrorKind::model_file));
  if (value.is_discarded()) {
    throw model_file_error(
        "checkpoint", fmt::format("{} must be JSON and is not. Get the checkpoint anew.", path.string()));
  }
  return value;
}

void write_files(const fs::path& folder, const Checkpoint& checkpoint) {
  io::save_tensors(folder / kModel, checkpoint.model, {{"format", "pt"}});
  io::save_tensors(folder / kState, checkpoint.state, {{"progress", checkpoint.progress.dump()}});
  io::write_atomically(folder / kConfig, checkpoint.config.dump(2) + "\n");
  json manifest = {{"checkpoint", checkpoint_name(checkpoint.step)}, {"seconds", checkpoint.seconds}};
  for (const char* name : {kModel, kState, kConfig}) manifest["files"][name] = fingerprint(folder / name);
  io::write_atomically(folder / kManifest, manifest_text(std::move(manifest)));
  io::sync_directory(folder);
}

/// Gives the finished folder its final name, replacing a damaged one of the same step.
void publish(const fs::path& temporary, const fs::path& target) {
  const fs::path parent = target.parent_path();
  if (fs::exists(target)) {
    const fs::path old = parent / ("tmp-replaced-" + target.filename().string());
    fs::remove_all(old);
    fs::rename(target, old);
    fs::rename(temporary, target);
    fs::remove_all(old);
  } else {
    fs::rename(temporary, target);
  }
  io::sync_directory(parent);
}

/// Which files of a checkpoint folder are looked at, and whether its name must be the manifest's.
struct Scope {
  std::vector<std::string> files = {kModel, kState, kConfig};
  bool name = true;
};

std::string damage_of_file(const fs::path& folder, const std::string& name, const json& expected) {
  if (!fs::is_regular_file(folder / name)) return name + " is missing";
  const json found = fingerprint(folder / name);
  const json size = expected.value("size", json());
  if (found["size"] != size) {
    return fmt::format("{} has {} bytes instead of {}", name, found["size"].dump(), io::show_json(size));
  }
  return found == expected ? "" : fmt::format("{} was changed (CRC32C differs)", name);
}

std::string damage(const fs::path& folder, const Scope& scope) {
  if (!fs::is_regular_file(folder / kManifest)) return "manifest.json is missing";
  const std::string text = io::read_file(folder / kManifest, io::kLargestJson, ErrorKind::model_file);
  const json manifest = parse(text);
  if (!manifest.is_object() || manifest_text(manifest) != text) return "manifest.json is damaged";
  if (scope.name) {
    const json name = manifest.value("checkpoint", json());
    if (name != folder.filename().string())
      return fmt::format("manifest.json is that of {}", io::show_json(name));
  }
  const json files = manifest.value("files", json::object());
  for (const std::string& name : scope.files) {
    const json expected = files.is_object() ? files.value(name, json()) : json();
    if (!expected.is_object()) return fmt::format("manifest.json lacks {}", name);
    if (std::string found = damage_of_file(folder, name, expected); !found.empty()) return found;
  }
  return "";
}

std::string damage_within(const fs::path& folder, const Scope& scope) {
  try {
    return damage(folder, scope);
  } catch (const std::exception& error) {
    return error.what();
  }
}

CheckpointFiles files_of(const fs::path& folder) { return {folder / kModel, folder / kConfig, {}}; }

/// Names in the order in which a reader should try them: best, last, then the newest.
std::vector<std::string> candidates(const fs::path& run) {
  std::vector<std::string> names;
  for (const char* pointer : {"best", "last"}) {
    const std::string name = pointed_checkpoint(run, pointer);
    if (!name.empty() && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  for (const std::string& name : checkpoint_names(run)) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

bool is_run_folder(const fs::path& folder) {
  return fs::exists(folder / "last") || fs::exists(folder / "metrics.jsonl");
}

CheckpointFiles find_in_run(const fs::path& run) {
  std::vector<std::string> notes;
  for (const std::string& name : candidates(run)) {
    const std::string damage = find_damage(run / name);
    if (damage.empty()) {
      CheckpointFiles files = files_of(run / name);
      if (!notes.empty()) notes.push_back(fmt::format("{} is used instead.", name));
      files.notes = notes;
      return files;
    }
    notes.push_back(fmt::format("{} cannot be used: {}.", (run / name).string(), damage));
  }
  if (notes.empty()) {
    throw model_file_error(
        "checkpoint",
        fmt::format("a run folder must hold a checkpoint; found none in {}. Give the --output of a "
                    "training that saved one, or a checkpoint folder.",
                    run.string()));
  }
  throw model_file_error("checkpoint",
                         fmt::format("no checkpoint of {} is sound: {} Use another run, or train again.",
                                     run.string(), fmt::join(notes, " ")));
}

}  // namespace

std::string checkpoint_name(int64_t step) { return fmt::format("checkpoint-{}", step); }

int64_t checkpoint_step(const std::string& name) {
  constexpr std::string_view prefix = "checkpoint-";
  if (!name.starts_with(prefix)) return -1;
  int64_t step = -1;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + prefix.size(), end, step);
  return error == std::errc() && stop == end && checkpoint_name(step) == name ? step : -1;
}

std::vector<std::string> checkpoint_names(const fs::path& run) {
  std::vector<std::pair<int64_t, std::string>> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(run)) {
    const std::string name = entry.path().filename().string();
    const int64_t step = checkpoint_step(name);
    if (step >= 0 && entry.is_directory()) found.emplace_back(-step, name);
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string> names;
  for (auto& [step, name] : found) names.push_back(std::move(name));
  return names;
}

std::string pointed_checkpoint(const fs::path& run, const char* pointer) {
  if (!fs::is_regular_file(run / pointer)) return "";
  std::string name = io::read_file(run / pointer, 4096, ErrorKind::model_file);
  while (!name.empty() && std::isspace(static_cast<unsigned char>(name.back()))) name.pop_back();
  return checkpoint_step(name) < 0 ? "" : name;
}

fs::path write_checkpoint(const fs::path& parent, const Checkpoint& checkpoint) {
  const std::string name = checkpoint_name(checkpoint.step);
  const fs::path temporary = parent / ("tmp-" + name), target = parent / name;
  try {
    fs::remove_all(temporary);
    fs::create_directory(temporary);
    write_files(temporary, checkpoint);
    publish(temporary, target);
  } catch (const fs::filesystem_error& error) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw Error(ErrorKind::other, "checkpoint",
                fmt::format("{} cannot be written: {}. Earlier checkpoints are "
                            "untouched.",
                            target.string(), error.code().message()));
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw;
  }
  return target;
}

std::string find_damage(const fs::path& folder) { return damage_within(folder, Scope{}); }

void require_undamaged(const fs::path& weights) {
  std::error_code absent;
  const bool folder = fs::is_directory(weights, absent);
  if (!folder && weights.filename() != kModel) return;
  const fs::path place = fs::canonical(folder ? weights : fs::absolute(weights).parent_path(), absent);
  if (absent || !fs::exists(place / kManifest, absent)) return;
  Scope scope;
  // A file's neighbours are none of its business. A copy may have any name, a run's own checkpoint may not.
  if (!folder) scope.files = {kModel, kConfig};
  scope.name = is_run_folder(place.parent_path());
  const std::string damage = damage_within(place, scope);
  if (damage.empty()) return;
  throw model_file_error("checkpoint",
                         fmt::format("{} cannot be used: {}. Get the checkpoint anew, or use another.",
                                     weights.string(), damage));
}

std::optional<Checkpoint> read_checkpoint(const fs::path& folder, std::string& damage) {
  damage = find_damage(folder);
  if (!damage.empty()) return std::nullopt;
  Checkpoint checkpoint;
  checkpoint.step = checkpoint_step(folder.filename().string());
  checkpoint.model = io::load_tensors(folder / kModel);
  checkpoint.state = io::load_tensors(folder / kState);
  checkpoint.config = read_json(folder / kConfig);
  checkpoint.seconds = read_json(folder / kManifest).value("seconds", 0.0);
  const io::TensorFile state(folder / kState);
  if (const auto found = state.metadata().find("progress"); found != state.metadata().end()) {
    checkpoint.progress = json::parse(found->second);
  }
  return checkpoint;
}

Checkpoint read_checkpoint(const fs::path& folder) {
  std::string damage;
  auto checkpoint = read_checkpoint(folder, damage);
  if (checkpoint) return *std::move(checkpoint);
  throw model_file_error("checkpoint", fmt::format("{} cannot be used: {}. Get it anew, or use another.",
                                                   folder.string(), damage));
}

CheckpointFiles find_checkpoint(const fs::path& argument) try {
  if (fs::is_regular_file(argument)) {
    CheckpointFiles files = {argument, argument.parent_path() / kConfig, {}};
    if (!fs::is_regular_file(files.config)) {
      throw model_file_error("checkpoint",
                             fmt::format("{} needs config.json beside it, which says how to build the "
                                         "network; found none. Copy it from the weights' folder.",
                                         argument.string()));
    }
    require_undamaged(argument);
    return files;
  }
  if (!fs::is_directory(argument)) {
    throw model_file_error("checkpoint",
                           fmt::format("{} does not exist. Give a run folder, a checkpoint folder or a "
                                       ".safetensors file.",
                                       argument.string()));
  }
  if (!fs::is_regular_file(argument / kModel)) return find_in_run(argument);
  require_undamaged(argument);
  if (!fs::is_regular_file(argument / kConfig)) {
    throw model_file_error("checkpoint",
                           fmt::format("{} lacks config.json. Copy it from where the weights were "
                                       "written.",
                                       argument.string()));
  }
  return files_of(argument);
} catch (const fs::filesystem_error& error) {
  throw model_file_error("checkpoint",
                         fmt::format("{} cannot be read: {}. Check the permissions of its folders.",
                                     argument.string(), error.code().message()));
}

}  // namespace fovea::train
