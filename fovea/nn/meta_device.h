#pragma once
#include <c10/core/impl/LocalDispatchKeySet.h>

namespace fovea::nn {

/// While it lives, every tensor that this thread creates is made on the meta device, which has shapes and no
/// numbers: torch's own layers, which ask for CPU tensors, cost no memory and no time, and filling them with
/// random numbers does nothing. A network of any size can be built and summarised. (Python has
/// `with torch.device("meta")`; C++ libtorch has no default device.)
class MetaDeviceScope {
 public:
  MetaDeviceScope();

 private:
  c10::impl::IncludeDispatchKeyGuard guard_;
};

}  // namespace fovea::nn
