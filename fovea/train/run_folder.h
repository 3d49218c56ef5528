#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "fovea/io/folder_lock.h"
#include "fovea/train/checkpoint.h"

namespace fovea::train {

struct RunFolderOptions {
  /// Go on with what the folder holds; an empty or missing folder starts a new run. Without it a folder with
  /// content is refused.
  bool resume = false;
  /// Checkpoints kept besides the best one, >= 1.
  int64_t keep = 3;
};

/// The folder of one training: config.json, metrics.jsonl, events.out.tfevents.*, checkpoint-STEP/, and the
/// files `last` and `best` that name a checkpoint. Holds a lock, so that two processes cannot train into one
/// folder.
class RunFolder {
 public:
  /// Creates or opens the folder, locks it and removes what a killed writer left (tmp-*). Throws fovea::Error
  /// (usage) when it has content and `resume` is off, or another process holds it; (other) when it cannot be
  /// written.
  explicit RunFolder(std::filesystem::path path, RunFolderOptions options = {});
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path metrics_path() const { return path_ / "metrics.jsonl"; }

  /// The newest sound checkpoint; damaged newer ones are renamed to damaged-checkpoint-STEP, which `notes`
  /// says. Empty when the folder has no checkpoint at all. Throws fovea::Error (model_file) when every
  /// checkpoint is damaged.
  std::optional<Checkpoint> load_latest(std::vector<std::string>& notes) const;

  /// Writes config.json.
  void write_config(const nlohmann::json& config) const;

  /// Makes `last` and `best` name what a resumed checkpoint says; an empty name removes the file.
  void set_pointers(const std::string& last, const std::string& best) const;

  /// Writes a checkpoint, points `last` (and `best`) at it, then removes those no longer kept.
  void save(const Checkpoint& checkpoint, bool best);

  /// Name of the checkpoint that `last` or `best` points at; empty when there is none.
  std::string last() const { return pointed_checkpoint(path_, "last"); }
  std::string best() const { return pointed_checkpoint(path_, "best"); }

 private:
  void remove_old() const;

  std::filesystem::path path_;
  RunFolderOptions options_;
  std::optional<io::FolderLock> lock_;
};

}  // namespace fovea::train
