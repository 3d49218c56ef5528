#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "fovea/ops/attend.h"

namespace fovea {

/// The tensors of a call's options, which its gradient reads again: autograd watches what it saves itself,
/// this the rest.
class Unchanged {
 public:
  explicit Unchanged(const AttendOptions& options);

  /// Throws Error (usage) where one of them was changed in place since, as the gradient would be wrong.
  void check(const char* where) const;

 private:
  struct Watched {
    at::Tensor tensor;
    int64_t version;
  };
  std::vector<Watched> watched_;
};

}  // namespace fovea
