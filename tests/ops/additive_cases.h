#pragma once
#include <torch/csrc/autograd/autograd.h>

#include "fovea/ops/additive_attend.h"
#include "fovea/ops/additive_attend_fused.h"
#include "tests/ops/attend_cases.h"
#include "tests/ops/tensors.h"

// The case table of additive_attend(): that of attend(), where dim is the hidden size.

namespace fovea::test {

/// q, k, v, w. Scores of size 2 or so, whatever the hidden size; `shared`: one w for all heads.
inline Tensors make_additive_operands(const AttendCase& c, bool shared = false) {
  const Operands t = make_operands(c);
  const at::Tensor w = at::randn({c.heads, c.dim}) * 2.0 / std::sqrt(static_cast<double>(c.dim));
  return {t.q, t.k, t.v, shared ? w[0].contiguous() : w};
}

/// `count` cases, each axis drawn by itself, with a definition that is small enough to run.
inline std::vector<AttendCase> additive_cases(int64_t count, uint64_t seed) {
  Random random(seed);
  const auto draw = [&random](const auto& values) { return values[random.below(std::size(values))]; };
  const std::vector<int64_t> lengths = {0, 1, 15, 16, 17, 63, 100, 257}, dims = {1, 8, 24, 64, 100, 256},
                             value_dims = {1, 8, 64, 80, 256};
  const std::vector<at::ScalarType> types = {at::kFloat, at::kFloat, at::kBFloat16, at::kHalf};
  std::vector<AttendCase> cases;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t heads = draw(std::vector<int64_t>{1, 2, 3});
    AttendCase c{.batch = draw(std::vector<int64_t>{1, 2}),
                 .heads = heads,
                 .kv_heads = heads,
                 .queries = draw(lengths),
                 .keys = draw(lengths),
                 .dim = draw(dims),
                 .value_dim = draw(value_dims),
                 .type = draw(types),
                 .layout = draw(layouts()),
                 .functors = draw(functor_names())};
    while (c.batch * c.heads * c.queries * c.keys * c.dim > (1 << 23))
      (c.queries > c.keys ? c.queries : c.keys) /= 2;
    cases.push_back(c);
  }
  return cases;
}

inline at::Tensor run_additive(const Tensors& t, const AttendOptions& options) {
  const auto run = t[0].scalar_type() == at::kDouble ? additive_attend : additive_attend_fused;
  return run(t[0], t[1], t[2], t[3], options).out;
}

/// Of q, k, v and w, by the fused kernel or, in float64, by the definition.
inline Tensors additive_gradients(const Tensors& given, const at::Tensor& grad_out,
                                  const AttendOptions& options) {
  Tensors t;
  for (const auto& x : given) t.push_back(x.detach().requires_grad_());
  return torch::autograd::grad({run_additive(t, options)}, t, {grad_out.to(t[0].scalar_type())});
}

}  // namespace fovea::test
