#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "fovea/io/tensors.h"
#include "fovea/train/config.h"

namespace torch::nn {
class Module;
}

namespace fovea::train {

/// A trainable parameter with its dotted name.
struct NamedParameter {
  std::string name;
  at::Tensor value;
  /// Subject to weight_decay, l1 and l2: everything but norms, biases, class tokens and position tables.
  bool decays = true;
};

/// The parameters of a module that want gradients, in order of registration.
std::vector<NamedParameter> trainable_parameters(const torch::nn::Module& model);

/// SGD with momentum, Adam and AdamW with PyTorch's arithmetic (torch.optim, fused = True), one pass over
/// each parameter.
///   sgd    g += (weight_decay + l2) w;  m = momentum m + g;  w -= lr (nesterov ? g + momentum m : m)
///   adam   g += (weight_decay + l2) w;  a, b = bias-corrected moving means of g, g^2;
///          w -= lr a / (sqrt(b) + 1e-8)
///   adamw  g += l2 w;  w -= lr weight_decay w;  then as adam
///   l1     afterwards w = sign(w) max(|w| - lr l1, 0): the proximal step, so that weights become exactly 0
///          (a subgradient would only oscillate around it). For adam and adamw it is decoupled from the
///          adaptive step, as AdamW's decay is.
/// Sources: Sutskever et al. 2013, 3; Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm
/// 2; Parikh and Boyd 2014, Proximal algorithms, 6.5.2.
class Optimizer {
 public:
  Optimizer(const torch::nn::Module& model, const TrainConfig& config);

  /// One update from the gradients; a parameter without gradient stays as it is.
  void step(double lr);

  void zero_grad();

  const std::vector<NamedParameter>& parameters() const { return parameters_; }

  /// `step`, and for each parameter NAME.momentum, or NAME.exp_avg and NAME.exp_avg_sq. The tensors are the
  /// optimiser's own: copy them to keep them.
  io::TensorMap state() const;

  /// Takes what state() gave. Throws fovea::Error (model_file) naming tensors that are missing or of another
  /// shape.
  void load_state(const io::TensorMap& state);

 private:
  struct Lists;
  void step_group(bool decays, double lr);

  TrainConfig config_;
  std::vector<NamedParameter> parameters_;
  // Parallel to parameters_; second_ is empty for sgd, first_ too when there is no momentum.
  std::vector<at::Tensor> first_, second_;
  at::Tensor step_;
};

/// Euclidean norm over all gradients, summed in double. NaN or infinity when a gradient is.
double gradient_norm(const std::vector<NamedParameter>& parameters);

/// Scales all gradients so that their norm, which is `norm`, becomes `limit` when it is larger.
///   g *= min(1, limit / (norm + 1e-6))
/// As torch.nn.utils.clip_grad_norm_. Source: Pascanu et al. 2013, algorithm 1.
void clip_gradients(const std::vector<NamedParameter>& parameters, double norm, double limit);

}  // namespace fovea::train
