#include "fovea/nn/saved_tensors.h"

#include <torch/csrc/autograd/anomaly_mode.h>
#include <torch/csrc/autograd/engine.h>

#include <mutex>
#include <utility>
#include <vector>

#include "fovea/nn/storage_ledger.h"

namespace fovea::nn {
namespace {

using torch::autograd::Engine;
using torch::autograd::SavedVariableHooks;

thread_local std::vector<SavedTensorHooks> stack;

// libtorch asks the default engine for the hooks of each tensor that it saves, which Python's engine answers
// and the plain one does not. This one answers from `stack` and leaves all work to the engine that was there
// before.
class HookedEngine : public Engine {
 public:
  explicit HookedEngine(Engine& inner) : inner_(inner) {}

  torch::autograd::variable_list execute(const torch::autograd::edge_list& roots,
                                         const torch::autograd::variable_list& inputs, bool keep_graph,
                                         bool create_graph, bool accumulate_grad,
                                         const torch::autograd::edge_list& outputs) override {
    return inner_.execute(roots, inputs, keep_graph, create_graph, accumulate_grad, outputs);
  }

  c10::intrusive_ptr<at::ivalue::Future> execute_with_graph_task(
      const std::shared_ptr<torch::autograd::GraphTask>& graph_task,
      std::shared_ptr<torch::autograd::Node> graph_root,
      torch::autograd::InputBuffer&& input_buffer) override {
    return inner_.execute_with_graph_task(graph_task, std::move(graph_root), std::move(input_buffer));
  }

  std::unique_ptr<torch::autograd::AnomalyMetadata> make_anomaly_metadata() override {
    return inner_.make_anomaly_metadata();
  }

  std::unique_ptr<SavedVariableHooks> get_default_saved_variable_hooks() override {
    if (stack.empty()) return inner_.get_default_saved_variable_hooks();
    // Hooks may save tensors themselves: these go the usual way.
    const SavedTensorHooks make = stack.back();
    return make();
  }

 private:
  Engine& inner_;
};

void install_engine() {
  static std::once_flag once;
  std::call_once(once, [] {
    // Never destroyed: other threads may still be in a backward pass when the program ends.
    static auto* engine = new HookedEngine(Engine::get_default_engine());
    torch::autograd::set_default_engine_stub([]() -> Engine& { return *engine; });
  });
}

}  // namespace

SavedTensorScope::SavedTensorScope(SavedTensorHooks hooks) {
  install_engine();
  stack.push_back(std::move(hooks));
}

SavedTensorScope::~SavedTensorScope() { stack.pop_back(); }

bool is_parameter(const at::Tensor& tensor) {
  const at::TensorBase& root = tensor.is_view() ? tensor._base() : tensor;
  return root.is_leaf() && root.requires_grad();
}

namespace {

class CountingHooks : public SavedVariableHooks {
 public:
  explicit CountingHooks(std::shared_ptr<StorageLedger> ledger) : ledger_(std::move(ledger)) {}

  void call_pack_hook(const at::Tensor& tensor) override {
    tensor_ = tensor.detach();
    if (!is_parameter(tensor)) ledger_->add(tensor);
  }

  at::Tensor call_unpack_hook() override { return tensor_; }

 private:
  std::shared_ptr<StorageLedger> ledger_;
  at::Tensor tensor_;
};

}  // namespace

SavedBytes::SavedBytes()
    : ledger_(std::make_shared<StorageLedger>()),
      scope_([ledger = ledger_] { return std::make_unique<CountingHooks>(ledger); }) {}

int64_t SavedBytes::bytes() const { return ledger_->alive_bytes(); }

}  // namespace fovea::nn
