#include "fovea/train/run_folder.h"

#include <fmt/format.h>

#include <system_error>

#include "fovea/core/error.h"
#include "fovea/io/file.h"

namespace fovea::train {
namespace {

namespace fs = std::filesystem;

Error refused(const fs::path& path, int code) {
  return Error(ErrorKind::other, "run folder",
               fmt::format("{} cannot be written: {}. Choose another folder.", path.string(),
                           std::generic_category().message(code)));
}

void create(const fs::path& path) {
  if (fs::exists(path) && !fs::is_directory(path)) {
    throw usage_error("run folder", fmt::format("{} must be a folder; found a file.", path.string()));
  }
  std::error_code code;
  fs::create_directories(path, code);
  if (code) throw refused(path, code.value());
}

/// What a killed writer leaves: unfinished or half-removed checkpoints, temporary files.
bool is_left_over(const std::string& name) {
  return (name.starts_with("tmp-") && name.find("checkpoint-") != std::string::npos) ||
         io::is_temporary_name(name);
}

bool has_content(const fs::path& path) {
  for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
    const std::string name = entry.path().filename().string();
    if (name != io::FolderLock::kFile && !is_left_over(name)) return true;
  }
  return false;
}

void check_content(const fs::path& path, bool resume) {
  if (!has_content(path)) return;
  if (!resume) {
    throw usage_error("run folder",
                      fmt::format("a new run needs an empty folder; {} has content. Use --resume auto to "
                                  "go on with it, or choose another folder.",
                                  path.string()));
  }
  if (!fs::exists(path / "config.json") && checkpoint_names(path).empty()) {
    throw usage_error("run folder",
                      fmt::format("{} has content but is no run folder: it holds neither config.json nor "
                                  "a checkpoint. Choose another folder.",
                                  path.string()));
  }
}

void remove_left_overs(const fs::path& path) {
  for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
    std::error_code code;
    if (is_left_over(entry.path().filename().string())) fs::remove_all(entry.path(), code);
    if (code) throw refused(entry.path(), code.value());
  }
}

}  // namespace

RunFolder::RunFolder(fs::path path, RunFolderOptions options) : path_(std::move(path)), options_(options) {
  create(path_);
  check_content(path_, options_.resume);
  lock_.emplace(path_, "run folder");
  remove_left_overs(path_);
}

std::optional<Checkpoint> RunFolder::load_latest(std::vector<std::string>& notes) const {
  std::vector<std::string> damaged;
  std::string reasons;
  for (const std::string& name : checkpoint_names(path_)) {
    std::string damage;
    std::optional<Checkpoint> checkpoint = read_checkpoint(path_ / name, damage);
    if (!checkpoint) {
      damaged.push_back(name);
      reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", name, damage);
      continue;
    }
    for (const std::string& bad : damaged) {
      fs::remove_all(path_ / ("damaged-" + bad));
      fs::rename(path_ / bad, path_ / ("damaged-" + bad));
    }
    if (!damaged.empty()) {
      notes.push_back(
          fmt::format("damaged checkpoints were set aside ({}); {} is used instead.", reasons, name));
    }
    return checkpoint;
  }
  if (damaged.empty()) return std::nullopt;
  throw model_file_error("run folder",
                         fmt::format("no checkpoint of {} is sound: {}. Start a new run in another folder.",
                                     path_.string(), reasons));
}

void RunFolder::write_config(const nlohmann::json& config) const {
  io::write_atomically(path_ / "config.json", config.dump(2) + "\n");
}

void RunFolder::set_pointers(const std::string& last, const std::string& best) const {
  for (const auto& [file, name] : {std::pair("last", last), std::pair("best", best)}) {
    if (name == pointed_checkpoint(path_, file)) continue;
    if (name.empty()) {
      fs::remove(path_ / file);
    } else {
      io::write_atomically(path_ / file, name + "\n");
    }
  }
}

void RunFolder::save(const Checkpoint& checkpoint, bool best) {
  const std::string name = checkpoint_name(checkpoint.step);
  write_checkpoint(path_, checkpoint);
  set_pointers(name, best ? name : this->best());
  remove_old();
}

void RunFolder::remove_old() const {
  const std::vector<std::string> names = checkpoint_names(path_);
  const std::string kept = best();
  for (size_t i = static_cast<size_t>(options_.keep); i < names.size(); ++i) {
    if (names[i] == kept) continue;
    // Renamed first: a kill in the midst of the removal must not leave half a checkpoint under its name.
    const fs::path doomed = path_ / ("tmp-removed-" + names[i]);
    std::error_code code;
    fs::rename(path_ / names[i], doomed, code);
    if (!code) fs::remove_all(doomed, code);
  }
}

}  // namespace fovea::train
