#include "fovea/ops/attend_composed.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>

#include <cmath>
#include <limits>

namespace fovea {
namespace {

// true = may attend; undefined when all may.
at::Tensor allowed_pairs(const at::Tensor& scores, const AttendOptions& options) {
  at::Tensor allowed;
  if (options.mask) allowed = *options.mask;
  if (options.causal) {
    const auto index = scores.options().dtype(at::kLong);
    const at::Tensor below =
        at::arange(scores.size(3), index) <= at::arange(scores.size(2), index).unsqueeze(1);
    allowed = allowed.defined() ? allowed & below : below;
  }
  return allowed;
}

// Softmax over the allowed keys; a row without any gives 0 and passes no gradient.
at::Tensor masked_softmax(const at::Tensor& scores, const at::Tensor& allowed) {
  const at::Tensor hidden = allowed.logical_not();
  const at::Tensor empty = hidden.all(-1, /*keepdim=*/true);
  const at::Tensor open = hidden & empty.logical_not();
  return at::softmax(scores.masked_fill(open, -std::numeric_limits<double>::infinity()), -1)
      .masked_fill(empty, 0.0);
}

at::Tensor repeat_heads(const at::Tensor& t, int64_t heads) {
  return t.size(1) == heads ? t : t.repeat_interleave(heads / t.size(1), 1);
}

}  // namespace

AttendResult attend_composed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const AttendOptions& options) {
  const bool narrow = q.scalar_type() == at::kBFloat16 || q.scalar_type() == at::kHalf;
  const auto widen = [&](const at::Tensor& t) { return narrow ? t.to(at::kFloat) : t; };
  const double scale = options.scale.value_or(1.0 / std::sqrt(static_cast<double>(q.size(3))));

  at::Tensor scores = at::matmul(widen(q) * scale, repeat_heads(widen(k), q.size(1)).transpose(2, 3));
  if (options.bias) scores = scores + options.bias->to(scores.scalar_type());
  const at::Tensor allowed = allowed_pairs(scores, options);
  at::Tensor weights = allowed.defined() ? masked_softmax(scores, allowed) : at::softmax(scores, -1);
  if (options.dropout_p > 0.0) weights = at::dropout(weights, options.dropout_p, /*train=*/true);
  const at::Tensor out = at::matmul(weights, repeat_heads(widen(v), q.size(1))).to(q.scalar_type());
  return {out, options.weights ? weights : at::Tensor()};
}

}  // namespace fovea
