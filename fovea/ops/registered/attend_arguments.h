#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <string>
#include <vector>

// fovea::attend as an operator of torch's dispatcher, for Python. Each file adds one thing: attend_schema.cpp
// the names and types of the arguments, attend_kernels.cpp what runs, attend_meta.cpp shapes alone,
// attend_autograd.cpp gradients. They share the arguments as a plain list, so that a new one is a line here
// and there.

namespace fovea::registered {

/// The arguments of fovea::attend, in the order of kArgumentList.
using Arguments = std::vector<c10::IValue>;

/// The first arguments, which a gradient can reach: q, k, v, alibi_slopes, bias, relative_table.
constexpr size_t kDifferentiable = 6;

/// Of the schema: between the parentheses.
extern const char* const kArgumentList;
/// How many arguments kArgumentList has.
size_t argument_count();

/// What to return beside the result, by its names in `observe`.
std::vector<std::string> observed_names(const Arguments& arguments);

/// Runs fovea::attend: the result, then what `observe` names, in its order.
/// Throws c10::ValueError where fovea::attend throws Error (usage), c10::NotImplementedError for an argument
/// that it has not got yet.
std::vector<at::Tensor> run_attend(const Arguments& arguments);

}  // namespace fovea::registered
