#include "fovea/nn/activation_checkpoint.h"

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/saved_variable.h>

#include <chrono>
#include <mutex>
#include <set>
#include <sstream>
#include <string>

#include "fovea/core/error.h"
#include "fovea/nn/recompute.h"
#include "fovea/nn/saved_tensors.h"
#include "fovea/nn/storage_ledger.h"
#include "fovea/nn/surroundings.h"

// The graph of the first run is the one that the backward walks; only its saved tensors are taken out and
// made again on demand. (A node that runs a backward of its own on a second graph would be shorter, but
// autograd::grad() then finds no parameters, nothing flows when no input requires a gradient, and a second
// derivative is wrong.)

namespace fovea::nn {
namespace {

using torch::autograd::SavedVariable;
using torch::autograd::SavedVariableHooks;

std::string describe(at::IntArrayRef sizes, at::ScalarType dtype) {
  std::ostringstream text;
  text << sizes << " " << dtype;
  return text.str();
}

// Tells what the hooks keep as it is, because it lives anyway. An input is never of that kind, so that the
// answer is the same in the second run, whose inputs are leaves.
class Keeps {
 public:
  explicit Keeps(const std::vector<at::Tensor>& inputs) {
    for (const at::Tensor& input : inputs) {
      if (input.defined() && input.has_storage()) inputs_.insert(input.storage().unsafeGetStorageImpl());
    }
  }

  bool operator()(const at::Tensor& tensor) const {
    return is_parameter(tensor) && tensor.has_storage() &&
           !inputs_.contains(tensor.storage().unsafeGetStorageImpl());
  }

 private:
  std::set<const c10::StorageImpl*> inputs_;
};

// One call of checkpoint(): a slot for each tensor that the function's operators saved. A slot is empty until
// the backward asks for it; then the function runs again and fills all slots that the graph still owns.
class Frame : public std::enable_shared_from_this<Frame> {
 public:
  Frame(TensorsFunction function, const std::vector<at::Tensor>& inputs, const CheckpointOptions& options)
      : function_(std::move(function)),
        stats_(recomputing() ? nullptr : options.stats),
        surroundings_(inputs, options.buffers, options.preserve_random_state) {
    for (const at::Tensor& input : inputs) {
      // Through the hooks of an outer checkpoint, if there is one: its backward makes these inputs again.
      inputs_.emplace_back(input, /*is_output=*/false);
      requires_grad_.push_back(input.defined() && input.requires_grad());
    }
  }

  std::vector<at::Tensor> first_run(const std::vector<at::Tensor>& inputs);

  size_t add(const at::Tensor& tensor);  // a slot for it
  at::Tensor take(size_t slot);
  void release(size_t slot);                         // the graph does not need it any more
  void fill(size_t slot, const at::Tensor& tensor);  // may end the second run

 private:
  struct Stop {
  };  // thrown where all that is needed was made; no std::exception, so that functions do not catch it

  struct Slot {
    std::vector<int64_t> sizes;
    at::ScalarType dtype = at::kFloat;
    at::Tensor value;  // of the second run
    uint32_t version = 0;
    bool owned = true;
  };

  void second_run();

  TensorsFunction function_;
  std::shared_ptr<CheckpointStats> stats_;
  StorageLedger ledger_;
  Surroundings surroundings_;
  std::vector<SavedVariable> inputs_;
  std::vector<bool> requires_grad_;
  std::recursive_mutex mutex_;  // a graph on several devices is walked by a thread for each
  std::vector<Slot> slots_;
  size_t needed_ = 0;  // slots up to the last owned one
};

// A tensor that the first run saved.
class FirstHooks : public SavedVariableHooks {
 public:
  FirstHooks(std::shared_ptr<Frame> frame, const Keeps& keeps) : frame_(std::move(frame)), keeps_(keeps) {}

  ~FirstHooks() override {
    if (packed_ && !parameter_.defined()) frame_->release(slot_);
  }

  void call_pack_hook(const at::Tensor& tensor) override {
    packed_ = true;
    if (keeps_(tensor)) {
      parameter_ = tensor.detach();
      version_ = tensor._version();
    } else {
      slot_ = frame_->add(tensor);
    }
  }

  at::Tensor call_unpack_hook() override {
    if (!parameter_.defined()) return frame_->take(slot_);
    if (parameter_._version() == version_) return parameter_;
    throw usage_error("checkpoint",
                      fmt::format("parameters stay as they are until the backward; found one of {} "
                                  "changed in place. Step the optimiser after backward().",
                                  describe(parameter_.sizes(), parameter_.scalar_type())));
  }

 private:
  std::shared_ptr<Frame> frame_;
  const Keeps& keeps_;  // used while packing only
  at::Tensor parameter_;
  uint32_t version_ = 0;
  size_t slot_ = 0;
  bool packed_ = false;
};

// The same tensor of the second run. It is kept here too, for a function that calls autograd::grad() itself.
class SecondHooks : public SavedVariableHooks {
 public:
  SecondHooks(Frame& frame, size_t& next, const Keeps& keeps) : frame_(frame), next_(next), keeps_(keeps) {}

  void call_pack_hook(const at::Tensor& tensor) override {
    tensor_ = tensor.detach();
    if (!keeps_(tensor)) frame_.fill(next_++, tensor_);
  }

  at::Tensor call_unpack_hook() override { return tensor_; }

 private:
  Frame& frame_;  // these three are used while packing only
  size_t& next_;
  const Keeps& keeps_;
  at::Tensor tensor_;
};

std::vector<at::Tensor> Frame::first_run(const std::vector<at::Tensor>& inputs) {
  std::vector<at::Tensor> outputs;
  {
    const Keeps keeps(inputs);
    const SavedTensorScope scope([&] { return std::make_unique<FirstHooks>(shared_from_this(), keeps); });
    outputs = function_(inputs);
  }
  surroundings_.keep_changed_buffers();
  if (stats_) {
    ++stats_->calls;
    stats_->freed_bytes += ledger_.freed_bytes();
  }
  return outputs;
}

size_t Frame::add(const at::Tensor& tensor) {
  const std::lock_guard lock(mutex_);
  if (stats_) ledger_.add(tensor);
  Slot& slot = slots_.emplace_back();
  slot.sizes = tensor.sizes().vec();
  slot.dtype = tensor.scalar_type();
  return slots_.size() - 1;
}

void Frame::release(size_t slot) {
  const std::lock_guard lock(mutex_);
  slots_[slot].owned = false;
  slots_[slot].value.reset();
}

at::Tensor Frame::take(size_t slot) {
  const std::lock_guard lock(mutex_);
  Slot& place = slots_[slot];
  if (!place.value.defined()) second_run();
  if (place.value._version() != place.version) {
    throw usage_error("checkpoint",
                      fmt::format("what the backward needs stays as it is; found that the function changed "
                                  "a saved tensor of {} in place. Let it make a new tensor.",
                                  describe(place.sizes, place.dtype)));
  }
  // Handed out once: a second backward through a retained graph runs the function again.
  return std::exchange(place.value, at::Tensor());
}

void Frame::fill(size_t slot, const at::Tensor& tensor) {
  Slot& place = slots_.at(slot);
  if (place.sizes != tensor.sizes() || place.dtype != tensor.scalar_type()) {
    throw usage_error(
        "checkpoint",
        fmt::format("the function does the same when it runs again; found that it saved {} where it "
                    "had saved {}. Leave it out of the checkpoint, or make it repeatable.",
                    describe(tensor.sizes(), tensor.scalar_type()), describe(place.sizes, place.dtype)));
  }
  if (place.owned) {
    place.value = tensor;
    place.version = tensor._version();
  }
  if (slot + 1 == needed_) throw Stop();
}

void Frame::second_run() {
  const auto start = std::chrono::steady_clock::now();
  std::vector<at::Tensor> inputs;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    at::Tensor input = inputs_[i].unpack();
    inputs.push_back(input.defined() ? input.detach().requires_grad_(requires_grad_[i]) : input);
  }
  needed_ = slots_.size();
  while (needed_ > 0 && !slots_[needed_ - 1].owned) --needed_;
  bool stopped = false;
  try {
    const SurroundingsScope surroundings(surroundings_);
    const RecomputeScope recompute;
    const at::AutoGradMode grad(true);
    size_t next = 0;
    const Keeps keeps(inputs);
    const SavedTensorScope scope([&] { return std::make_unique<SecondHooks>(*this, next, keeps); });
    function_(inputs);
  } catch (const Stop&) {
    stopped = true;
  }
  if (!stopped) {
    throw usage_error(
        "checkpoint",
        fmt::format("the function does the same when it runs again; found that it saved fewer than the "
                    "{} tensors of the first run. Leave it out of the checkpoint, or make it repeatable.",
                    needed_));
  }
  if (stats_) {
    ++stats_->recomputations;
    stats_->recompute_nanoseconds += (std::chrono::steady_clock::now() - start).count();
  }
}

}  // namespace

std::vector<at::Tensor> checkpoint(const TensorsFunction& function, const std::vector<at::Tensor>& inputs,
                                   const CheckpointOptions& options) {
  if (!at::GradMode::is_enabled()) return function(inputs);
  return std::make_shared<Frame>(function, inputs, options)->first_run(inputs);
}

at::Tensor checkpoint(const std::function<at::Tensor(const at::Tensor&)>& function, const at::Tensor& x,
                      const CheckpointOptions& options) {
  const TensorsFunction on_vectors = [function](const std::vector<at::Tensor>& inputs) {
    return std::vector<at::Tensor>{function(inputs[0])};
  };
  return checkpoint(on_vectors, {x}, options)[0];
}

}  // namespace fovea::nn
