#pragma once
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/ops/tensors.h"

// What tests of a score expect: the result of a call and its gradients, against a definition of their own.

namespace fovea::test {

/// A result of leaves that require gradients.
using Attention = std::function<at::Tensor(const Tensors&)>;

/// softmax(scores) v over the keys where `seen` is true, or over all; heads of v are repeated as scores need.
inline at::Tensor softmax_times(const at::Tensor& scores, const at::Tensor& v, const at::Tensor& seen = {}) {
  const at::Tensor shown = seen.defined() ? scores.masked_fill(seen.logical_not(), -kInfinity) : scores;
  return at::matmul(at::softmax(shown, -1), v.repeat_interleave(scores.size(1) / v.size(1), 1));
}

/// The result, then the gradients of its sum by `weights`.
inline Tensors with_gradients(const Attention& run, const Tensors& inputs, const at::Tensor& weights) {
  Tensors leaves;
  for (const auto& t : inputs) leaves.push_back(t.detach().requires_grad_());
  Tensors found = {run(leaves)};
  for (auto& g : torch::autograd::grad({found[0]}, leaves, {weights.to(found[0].scalar_type())})) {
    found.push_back(std::move(g));
  }
  return found;
}

/// |a - b| / |b| of each; a gradient that is 0 but for rounding is measured against the largest of all, the
/// last one against `last` at least.
inline std::vector<double> errors(const Tensors& got, const Tensors& exact, double last) {
  double largest = 0.0;
  for (size_t i = 1; i < exact.size(); ++i) largest = std::max(largest, exact[i].norm().item<double>());
  std::vector<double> found;
  for (size_t i = 0; i < exact.size(); ++i) {
    const double least = std::max(i > 0 ? 0.1 * largest : 0.0, i + 1 == exact.size() ? last : 0.0);
    const double size = std::max(exact[i].norm().item<double>(), least);
    found.push_back((got[i].to(at::kDouble) - exact[i]).norm().item<double>() / std::max(size, 1e-30));
  }
  return found;
}

/// `ours` of the inputs as they are, `exact` of the same numbers in float64: results and gradients. The last
/// gradient may err by `last_rounding` where its terms cancel.
inline void expect_same(const Attention& ours, const Attention& exact, const Tensors& inputs,
                        double tolerance, const std::string& name, double last_rounding = 0.0) {
  const at::Tensor weights = at::randn_like(exact(in_double(inputs)));
  const Tensors got = with_gradients(ours, inputs, weights.to(inputs[0].scalar_type())),
                want = with_gradients(exact, in_double(inputs), weights.to(inputs[0].scalar_type()));
  const auto found = errors(got, want, last_rounding / tolerance);
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(got[i].sizes(), want[i].sizes()) << name << " number " << i;
    EXPECT_LE(found[i], tolerance) << name << (i ? " gradient of input " : " result ") << i;
  }
}

}  // namespace fovea::test
