#pragma once
#include <ATen/autocast_mode.h>

namespace fovea::train {

/// bf16 autocast on the CPU while it lives: matrix products and convolutions of the calling thread run in
/// bf16, the rest as ATen's lists say. The state before is restored, and the cache of cast weights emptied,
/// so that the next step casts the updated ones.
class AutocastScope {
 public:
  explicit AutocastScope(bool on) : on_(on) {
    if (!on_) return;
    before_ = at::autocast::is_autocast_enabled(at::kCPU);
    dtype_ = at::autocast::get_autocast_dtype(at::kCPU);
    at::autocast::set_autocast_enabled(at::kCPU, true);
    at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
    at::autocast::increment_nesting();
  }
  ~AutocastScope() {
    if (!on_) return;
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_dtype(at::kCPU, dtype_);
    at::autocast::set_autocast_enabled(at::kCPU, before_);
  }
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  bool on_, before_ = false;
  at::ScalarType dtype_ = at::kBFloat16;
};

}  // namespace fovea::train
