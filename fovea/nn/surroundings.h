#pragma once
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <vector>

namespace fovea::nn {

/// What a function's result depends on besides its inputs and parameters, as it was at one moment on one
/// thread: default random generators, autocast, buffers. Lets a later call see the same.
class Surroundings {
 public:
  /// Generators and autocast of the CPU and of the devices of `inputs`; generators only if `random`; copies
  /// of `buffers`.
  Surroundings(const std::vector<at::Tensor>& inputs, const std::vector<at::Tensor>& buffers, bool random);

  /// Forgets the buffers that still have the same values: most modules change none, and copies cost memory.
  void keep_changed_buffers();

 private:
  friend class SurroundingsScope;
  Surroundings() = default;
  Surroundings now() const;
  void restore() const;

  struct Random {
    at::Generator generator;
    at::Tensor state;
  };
  struct Buffer {
    at::Tensor buffer, value;
  };
  struct Autocast {
    at::DeviceType device;
    bool enabled;
    at::ScalarType dtype;
  };
  std::vector<Random> random_;
  std::vector<Buffer> buffers_;
  std::vector<Autocast> autocast_;
  // Off in a second run: a cast of a weight that a later forward found in the cache would be older than the
  // weight.
  bool autocast_cache_ = false;
};

/// Puts everything as it was at `then`; at its end, as it was before.
class SurroundingsScope {
 public:
  explicit SurroundingsScope(const Surroundings& then);
  ~SurroundingsScope();
  SurroundingsScope(const SurroundingsScope&) = delete;
  SurroundingsScope& operator=(const SurroundingsScope&) = delete;

 private:
  Surroundings before_;
};

}  // namespace fovea::nn
