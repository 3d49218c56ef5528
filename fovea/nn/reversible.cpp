#include "fovea/nn/reversible.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <string>
#include <unordered_map>
#include <utility>

#include "fovea/core/error.h"
#include "fovea/nn/recompute.h"
#include "fovea/nn/surroundings.h"
#include "fovea/ops/describe.h"

namespace fovea::nn {
namespace {

using torch::autograd::variable_list;

void check_same(const at::Tensor& found, const at::Tensor& expected, const char* what) {
  if (found.defined() && expected.defined() && found.sizes().equals(expected.sizes()) &&
      found.scalar_type() == expected.scalar_type()) {
    return;
  }
  throw usage_error("reversible", std::string(what) + " must be of one shape and type",
                    describe(found) + " beside " + describe(expected),
                    "Let every branch give what it is given.");
}

// A call: what its backward needs beside the result.
class Reversal : public torch::CustomClassHolder {
 public:
  explicit Reversal(std::vector<ReversibleLayer> layers) : layers_(std::move(layers)) {
    for (const ReversibleLayer& layer : layers_) {
      for (const ReversibleBranch* branch : {&layer.f, &layer.g}) {
        for (const at::Tensor& p : branch->parameters) add(p);
      }
    }
  }

  /// That learn, each once.
  const variable_list& parameters() const { return parameters_; }

  ReversiblePair forward(ReversiblePair x) {
    for (const ReversibleLayer& layer : layers_) {
      x.first = x.first + first_run(layer.f, x.second);
      x.second = x.second + first_run(layer.g, x.first);
    }
    for (const at::Tensor& p : parameters_) versions_.push_back(p._version());
    return x;
  }

  /// The gradients of the inputs, then of parameters(); those of the result are `grads`.
  variable_list backward(ReversiblePair y, ReversiblePair grads) {
    check_unchanged();
    variable_list found(2 + parameters_.size());
    auto place = surroundings_.rbegin();
    for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) {
      take_back(layer->g, *place++, y.first, y.second, grads.second, grads.first, found);
      take_back(layer->f, *place++, y.second, y.first, grads.first, grads.second, found);
    }
    found[0] = grads.first, found[1] = grads.second;
    return found;
  }

 private:
  void add(const at::Tensor& parameter) {
    if (!parameter.requires_grad()) return;
    const auto index = static_cast<int64_t>(parameters_.size());
    if (index_.emplace(parameter.unsafeGetTensorImpl(), index).second) parameters_.push_back(parameter);
  }

  void check_unchanged() const {
    for (size_t i = 0; i < parameters_.size(); ++i) {
      if (parameters_[i]._version() == versions_[i]) continue;
      throw usage_error("reversible", "parameters must stay as they are until the backward",
                        describe(parameters_[i]) + " changed in place",
                        "Step the optimiser after backward().");
    }
  }

  at::Tensor first_run(const ReversibleBranch& branch, const at::Tensor& x) {
    surroundings_.emplace_back(std::vector<at::Tensor>{x}, branch.buffers, /*random=*/true);
    at::Tensor out = branch.function(x);
    check_same(out, x, "what a branch is given and gives");
    surroundings_.back().keep_changed_buffers();
    return out;
  }

  // sum = other + branch(x): turns sum into other, and adds to the gradients of x and of the parameters.
  void take_back(const ReversibleBranch& branch, const Surroundings& then, const at::Tensor& x,
                 at::Tensor& sum, const at::Tensor& grad_sum, at::Tensor& grad_x, variable_list& found) {
    variable_list leaves = {x.detach().requires_grad_()};
    for (const at::Tensor& p : branch.parameters) {
      if (p.requires_grad()) leaves.push_back(p);
    }
    const at::AutoGradMode grad(true);
    at::Tensor out;
    {
      const SurroundingsScope surroundings(then);
      const RecomputeScope recompute;
      out = branch.function(leaves[0]);
    }
    sum = sum - out.detach();
    if (!out.requires_grad()) return;
    const auto gradients = torch::autograd::grad({out}, leaves, {grad_sum}, /*retain_graph=*/false,
                                                 /*create_graph=*/false, /*allow_unused=*/true);
    const auto add_to = [](at::Tensor& total, const at::Tensor& part) {
      if (part.defined()) total = total.defined() ? total.detach() + part : part;
    };
    add_to(grad_x, gradients[0]);
    for (size_t i = 1; i < leaves.size(); ++i) {
      add_to(found[2 + index_.at(leaves[i].unsafeGetTensorImpl())], gradients[i]);
    }
  }

  std::vector<ReversibleLayer> layers_;
  variable_list parameters_;
  std::unordered_map<const c10::TensorImpl*, int64_t> index_;
  std::vector<Surroundings> surroundings_;  // of f, g of each layer
  std::vector<int64_t> versions_;           // of parameters
};

class ReversibleFunction : public torch::autograd::Function<ReversibleFunction> {
 public:
  static variable_list forward(torch::autograd::AutogradContext* context,
                               const c10::intrusive_ptr<Reversal>& call, at::TensorList inputs) {
    const ReversiblePair y = call->forward({inputs[0], inputs[1]});
    context->save_for_backward({y.first, y.second});
    context->saved_data["call"] = at::IValue::make_capsule(call);
    return {y.first, y.second};
  }

  static variable_list backward(torch::autograd::AutogradContext* context, const variable_list& grads) {
    if (at::GradMode::is_enabled()) {
      throw usage_error("reversible", "its gradients have no gradients", "create_graph",
                        "Call the layers one after the other.");
    }
    const auto capsule = context->saved_data["call"].toCapsule();
    const auto saved = context->get_saved_variables();
    variable_list found =
        static_cast<Reversal&>(*capsule).backward({saved[0], saved[1]}, {grads[0], grads[1]});
    found.insert(found.begin(), at::Tensor());  // of the call
    return found;
  }
};

}  // namespace

ReversiblePair reversible(const std::vector<ReversibleLayer>& layers, const ReversiblePair& x) {
  check_same(x.second, x.first, "both inputs");
  if (layers.empty()) return x;
  auto call = c10::make_intrusive<Reversal>(layers);
  if (!at::GradMode::is_enabled()) return call->forward(x);
  variable_list inputs = {x.first, x.second};
  inputs.insert(inputs.end(), call->parameters().begin(), call->parameters().end());
  const variable_list y = ReversibleFunction::apply(call, at::TensorList(inputs));
  return {y[0], y[1]};
}

}  // namespace fovea::nn
