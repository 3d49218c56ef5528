#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <cstddef>
#include <string>
#include <vector>

// attend() and its kin as operators of torch's dispatcher, for Python. An operator is described here once;
// what they share is made of that: kernels.cpp what runs, meta.cpp shapes alone, autograd.cpp gradients,
// library.cpp the registration.

namespace fovea::registered {

/// As the dispatcher passes them, in the order of the schema.
using Arguments = std::vector<c10::IValue>;

/// Where q, k and v, or the pages of these, stand in every schema.
enum OperandPlace : size_t { kQ, kK, kV };

struct Operator {
  /// With the library's: "fovea::attend". The one that computes its gradients ends in "_backward".
  const char* name;
  const char* backward;
  /// Between the parentheses of the schema.
  std::string (*arguments)();
  /// Arguments that a gradient can reach: the first so many.
  size_t differentiable;
  /// The results. Throws c10::ValueError where the function behind it throws Error (usage).
  std::vector<at::Tensor> (*run)(const Arguments&);
  /// Their shapes and types, as tensors without numbers. Sizes may be symbols.
  std::vector<at::Tensor> (*shapes)(const Arguments&);
  /// Which of them have gradients.
  std::vector<bool> (*have_gradients)(const Arguments&);
};

extern const Operator kAttend, kAdditiveAttend, kAttendPaged;

/// visit<op>() for each of them.
template <class Visit>
void for_each_operator(const Visit& visit) {
  visit.template operator()<kAttend>();
  visit.template operator()<kAdditiveAttend>();
  visit.template operator()<kAttendPaged>();
}

}  // namespace fovea::registered
