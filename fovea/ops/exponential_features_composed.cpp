#include "fovea/ops/exponential_features_composed.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/maximum.h>

#include <limits>

namespace fovea {
namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();

at::Tensor powers(const at::Tensor& x, const at::Tensor& directions, double scale) {
  return at::matmul(x, (directions * scale).t());
}

at::Tensor finite(const at::Tensor& t, double other) {
  return t.masked_fill(at::isfinite(t).bitwise_not(), other);
}

}  // namespace

at::Tensor query_exponentials_composed(const at::Tensor& x, const at::Tensor& directions, double scale) {
  at::Tensor h = powers(x, directions, scale);
  return h.sub_(h.detach().amax(-1, true)).exp_();
}

KeyExponentials key_exponentials_composed(const at::Tensor& x, const at::Tensor& directions, double scale,
                                          const at::Tensor& hidden, const at::Tensor& least) {
  at::Tensor h = powers(x, directions, scale);
  h.sub_(x.square().sum(-1, true) * (0.5 * scale * scale));
  if (hidden.defined()) h.masked_fill_(hidden, kNone);
  const at::Tensor largest = largest_of_heads(h.detach().amax(-1, true), {}, least);
  return {h.sub_(largest).exp_(), largest};
}

at::Tensor largest_of_heads(at::Tensor largest_of_rows, const at::Tensor& hidden, const at::Tensor& least) {
  if (hidden.defined()) largest_of_rows.masked_fill_(hidden, kNone);
  at::Tensor largest =
      largest_of_rows.size(2) == 0
          ? largest_of_rows.new_zeros({largest_of_rows.size(0), largest_of_rows.size(1), 1, 1})
          : finite(finite(largest_of_rows, kNone).amax(2, true), 0.0);
  return least.defined() ? at::maximum(largest, least) : largest;
}

}  // namespace fovea
