#pragma once
#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace fovea::nn {

/// What checkpoints did, summed over calls and threads.
struct CheckpointStats {
  std::atomic<int64_t> calls{0};
  /// Activations that a plain pass would have kept until its backward and that were freed at the end of the
  /// forward.
  std::atomic<int64_t> freed_bytes{0};
  std::atomic<int64_t> recomputations{0};
  std::atomic<int64_t> recompute_nanoseconds{0};
};

struct CheckpointOptions {
  /// Recompute with the random state of the forward pass, so that dropout draws the same mask.
  bool preserve_random_state = true;
  /// Tensors that the function changes in place (running statistics). The recomputation sees them as the
  /// forward did and leaves them as it found them. The form for modules fills in the module's buffers.
  std::vector<at::Tensor> buffers;
  std::shared_ptr<CheckpointStats> stats;  ///< may be null
};

using TensorsFunction = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>&)>;

/// Activation checkpointing: calls `function` and keeps its inputs instead of its intermediate results, which
/// the backward computes again.   y = f(x);   dx = f'(x) dy with f's intermediates made anew from x.
///
/// Gradients of inputs, of parameters inside `function` and of whatever else it captures equal the plain
/// pass's, bit for bit on the CPU, under backward(), autograd::grad(), retain_graph and create_graph. Random
/// state, autocast and `buffers` are restored. Checkpoints nest. With gradients off it is a plain call.
/// Memory: the inputs. Time: one more forward up to the last tensor that the backward needs.
///
/// `function` must do the same when called again, after checkpoint() has returned: what it captures has to
/// live, and it must neither change its inputs in place nor catch all exceptions. Throws in the backward:
/// Error (usage) when the second run saved other tensors than the first, or when a parameter was changed in
/// between. Source: Chen et al., Training deep nets with sublinear memory cost (2016); PyTorch's
/// torch.utils.checkpoint, form use_reentrant=False.
std::vector<at::Tensor> checkpoint(const TensorsFunction& function, const std::vector<at::Tensor>& inputs,
                                   const CheckpointOptions& options = {});

/// The same for one tensor in, one out.
at::Tensor checkpoint(const std::function<at::Tensor(const at::Tensor&)>& function, const at::Tensor& x,
                      const CheckpointOptions& options = {});

/// The same for a module's forward; its buffers are protected: a batch norm counts each batch once.
/// `module` is shared with the graph until the backward.
template <class Module>
at::Tensor checkpoint(const std::shared_ptr<Module>& module, const at::Tensor& x,
                      CheckpointOptions options = {}) {
  const auto buffers = module->buffers();
  options.buffers.insert(options.buffers.end(), buffers.begin(), buffers.end());
  return checkpoint([module](const at::Tensor& input) -> at::Tensor { return module->forward(input); }, x,
                    options);
}

}  // namespace fovea::nn
