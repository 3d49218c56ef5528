#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace fovea::io {

/// Tensors by name, in the order of their names.
using TensorMap = std::map<std::string, at::Tensor>;

/// The tensors of a model: one .safetensors file, or several that a `*.safetensors.index.json` lists.
///
/// Opening reads headers only; load() reads one tensor. `path` is a .safetensors file, an index file, or a
/// folder that holds `model.safetensors`, `model.safetensors.index.json` or exactly one file of either kind
/// (tried in this order). Cheap to copy; const members may be called from several threads. Throws
/// SafetensorsError (model_file) with a named fault for every malformed file, index or missing shard.
class TensorFile {
 public:
  explicit TensorFile(const std::filesystem::path& path);

  /// All tensor names, sorted.
  std::vector<std::string> names() const;

  bool contains(const std::string& name) const;

  /// The tensor called `name`, on the CPU: a copy, which owns its memory and outlives this object and the
  /// file. (A view of the mapping would be free, but would kill the process with SIGBUS when somebody
  /// truncates the file.) An unknown name: model_file error with the nearest. F6 and odd F4 types, which
  /// libtorch lacks: model_file error.
  at::Tensor load(const std::string& name) const;

  /// As stored: in elements, so that F4, of which libtorch packs two into a byte, counts single values.
  std::vector<int64_t> shape(const std::string& name) const;

  /// The file's `__metadata__`; of an index, that of all shards together (the first shard wins).
  const std::map<std::string, std::string>& metadata() const;

 private:
  struct State;
  std::shared_ptr<const State> state_;
};

/// Every tensor of `path` (as TensorFile understands it).
TensorMap load_tensors(const std::filesystem::path& path);

/// Writes `tensors` as one .safetensors file, whole or not at all (write_atomically).
///
/// The bytes depend on the values only: equal tensors and metadata give byte-identical files, equal to those
/// of Python's safetensors 0.8 (tensors in descending order of type, then by name; header padded to 8 bytes;
/// with more than one metadata entry Python's own order is random, ours is sorted). Strided, expanded,
/// conjugated and autograd-tracked tensors are written by value. Tensors that share memory are written once
/// each. Throws usage_error for a type or layout that the format lacks (complex128, sparse, quantised), an
/// undefined or meta tensor, and a name that is not UTF-8 or is `__metadata__`; Error (other) if the disk
/// refuses.
void save_tensors(const std::filesystem::path& path, const TensorMap& tensors,
                  const std::map<std::string, std::string>& metadata = {});

}  // namespace fovea::io
