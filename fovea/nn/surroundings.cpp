#include "fovea/nn/surroundings.h"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/equal.h>
#include <c10/core/GradMode.h>

#include <mutex>
#include <unordered_set>

namespace fovea::nn {
namespace {

at::Tensor state_of(at::Generator generator) {
  const std::lock_guard lock(generator.mutex());
  return generator.get_state();
}

}  // namespace

Surroundings::Surroundings(const std::vector<at::Tensor>& inputs, const std::vector<at::Tensor>& buffers,
                           bool random) {
  std::unordered_set<at::Device> devices = {at::Device(at::kCPU)};
  for (const at::Tensor& input : inputs) {
    if (input.defined()) devices.insert(input.device());
  }
  for (const at::Device& device : devices) {
    if (random) {
      const at::Generator& generator = at::globalContext().defaultGenerator(device);
      random_.push_back({generator, state_of(generator)});
    }
    autocast_.push_back({device.type(), at::autocast::is_autocast_enabled(device.type()),
                         at::autocast::get_autocast_dtype(device.type())});
  }
  for (const at::Tensor& buffer : buffers) {
    if (buffer.defined()) buffers_.push_back({buffer, buffer.detach().clone()});
  }
}

void Surroundings::keep_changed_buffers() {
  std::erase_if(buffers_, [](const Buffer& one) { return at::equal(one.buffer, one.value); });
}

Surroundings Surroundings::now() const {
  Surroundings result;
  for (const Random& one : random_) result.random_.push_back({one.generator, state_of(one.generator)});
  for (const Buffer& one : buffers_) result.buffers_.push_back({one.buffer, one.buffer.detach().clone()});
  for (const Autocast& one : autocast_) {
    result.autocast_.push_back({one.device, at::autocast::is_autocast_enabled(one.device),
                                at::autocast::get_autocast_dtype(one.device)});
  }
  result.autocast_cache_ = at::autocast::is_autocast_cache_enabled();
  return result;
}

void Surroundings::restore() const {
  for (const Random& one : random_) {
    at::Generator generator = one.generator;
    const std::lock_guard lock(generator.mutex());
    generator.set_state(one.state);
  }
  // variable_data() has a version counter of its own: nodes that saved the buffer need not notice.
  for (const Buffer& one : buffers_) one.buffer.variable_data().copy_(one.value);
  for (const Autocast& one : autocast_) {
    at::autocast::set_autocast_enabled(one.device, one.enabled);
    at::autocast::set_autocast_dtype(one.device, one.dtype);
  }
  at::autocast::set_autocast_cache_enabled(autocast_cache_);
}

SurroundingsScope::SurroundingsScope(const Surroundings& then) : before_(then.now()) { then.restore(); }
SurroundingsScope::~SurroundingsScope() { before_.restore(); }

}  // namespace fovea::nn
