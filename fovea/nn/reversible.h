#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

namespace fovea::nn {

/// One of the two functions of a reversible layer: a result of the shape and type of its input. Whatever else
/// of it learns stands in `parameters`, what it changes in place in `buffers`.
struct ReversibleBranch {
  std::function<at::Tensor(const at::Tensor&)> function;
  std::vector<at::Tensor> parameters, buffers;
};

/// The forward of a module, which is shared with the graph until the backward.
template <class Module>
ReversibleBranch reversible_branch(const std::shared_ptr<Module>& module) {
  return {[module](const at::Tensor& x) -> at::Tensor { return module->forward(x); }, module->parameters(),
          module->buffers()};
}

struct ReversibleLayer {
  ReversibleBranch f, g;
};

/// Two halves of what flows through a reversible network, of one shape.
struct ReversiblePair {
  at::Tensor first, second;
};

/// Layers whose inputs follow from their outputs, so that none is kept for the backward.
///   y1 = x1 + f(x2),   y2 = x2 + g(y1);   backwards x2 = y2 - g(y1),   x1 = y1 - f(x2)
/// Gradients reach both inputs and all parameters, under backward(), autograd::grad() and retain_graph; they
/// are those of the plain layers up to the rounding of the subtractions. Branches run again with the random
/// state, autocast and buffers of the forward; modules see recomputing(). Memory: the last pair, whatever the
/// depth, one branch's own, and a random state of 5 KB a branch. Time: one more forward.
/// Throws Error (usage) on inputs or results of other shapes or types, and in the backward where a parameter
/// was changed in place since, or create_graph asks for gradients of gradients. Source: The reversible
/// residual network (Gomez et al. 2017), section 3; Reformer (Kitaev et al. 2020), section 3.
ReversiblePair reversible(const std::vector<ReversibleLayer>& layers, const ReversiblePair& x);

}  // namespace fovea::nn
