#pragma once
#include <filesystem>
#include <map>
#include <string>

namespace fovea::io {

/// Which file of the folder holds each tensor: `weight_map` of a `*.safetensors.index.json`, tensor -> file
/// name.
///
/// Throws SafetensorsError: bad_index if the file is no such JSON or names a tensor twice; shard_outside if a
/// file name has a folder in it (a hostile index could have any file of the machine read); bad_index above
/// 100 MB.
std::map<std::string, std::string> read_shard_index(const std::filesystem::path& path);

/// The model file that `path` means: itself if it is a file; of a folder `model.safetensors`,
/// `model.safetensors.index.json`, or the only index, or the only .safetensors file.
/// Throws SafetensorsError no_model_here if the folder has none or several.
std::filesystem::path find_model_file(const std::filesystem::path& path);

/// Whether find_model_file's result is an index.
bool is_shard_index(const std::filesystem::path& path);

}  // namespace fovea::io
