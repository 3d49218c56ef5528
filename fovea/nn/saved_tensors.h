#pragma once
#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/saved_variable_hooks.h>

#include <cstdint>
#include <functional>
#include <memory>

namespace fovea::nn {

class StorageLedger;

/// Makes the hooks of one tensor that autograd is about to save; a null pointer saves it in the usual way.
using SavedTensorHooks = std::function<std::unique_ptr<torch::autograd::SavedVariableHooks>()>;

/// While it lives, every tensor that operators of this thread save for their backward goes through hooks
/// (Python's torch.autograd.graph.saved_tensors_hooks, which C++ lacks). Scopes nest; the innermost has its
/// way. Cost: one indirect call a saved tensor.
class SavedTensorScope {
 public:
  explicit SavedTensorScope(SavedTensorHooks hooks);
  ~SavedTensorScope();
  SavedTensorScope(const SavedTensorScope&) = delete;
  SavedTensorScope& operator=(const SavedTensorScope&) = delete;
};

/// Whether a saved tensor is a leaf that requires a gradient or a view of one, as a Linear's transposed
/// weight: it costs no memory, because the parameter lives anyway.
bool is_parameter(const at::Tensor& tensor);

/// Counts the memory that the graph of a forward pass keeps for the backward: the storages of all saved
/// tensors, each once, without parameters.
///   SavedBytes saved;  auto y = net->forward(x);  saved.bytes();
class SavedBytes {
 public:
  SavedBytes();

  /// Bytes of those storages that are still alive.
  int64_t bytes() const;

 private:
  std::shared_ptr<StorageLedger> ledger_;
  SavedTensorScope scope_;
};

}  // namespace fovea::nn
