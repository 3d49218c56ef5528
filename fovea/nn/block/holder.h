#pragma once
#include <torch/nn/module.h>

#include <memory>
#include <string>
#include <utility>

namespace fovea::nn {

/// Holds modules and parameters under names that are not the members' own, such as `mlp.fc1`.
class Holder : public torch::nn::Module {
 public:
  template <class M>
  M add(const std::string& name, M module) {
    return register_module(name, module);
  }
  at::Tensor add_parameter(const std::string& name, at::Tensor parameter) {
    return register_parameter(name, std::move(parameter));
  }
};

}  // namespace fovea::nn
