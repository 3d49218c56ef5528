#pragma once
#include <ATen/core/Tensor.h>

#include <utility>

namespace torch::nn {
class Module;
}

namespace fovea::nn {

/// A module that adds to the loss of training, such as a price of what it computes.
class Penalised {
 public:
  virtual ~Penalised() = default;
  /// (), in nats, of the latest forward pass in training mode; undefined where there was none since the last
  /// call.
  at::Tensor take_penalty() { return std::exchange(owed_, at::Tensor()); }

 protected:
  /// What a checkpoint computes again has been owed before.
  void owe(const at::Tensor& penalty);

 private:
  at::Tensor owed_;
};

/// The sum of what all modules in a network owe, (); undefined where none does. For after each forward pass
/// of a training step: to be added to its loss.
at::Tensor take_penalties(const torch::nn::Module& network);

}  // namespace fovea::nn
