#include "fovea/nn/attention/hidden_keys.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>

#include "fovea/core/error.h"
#include "fovea/ops/describe.h"

namespace fovea::nn {

at::Tensor hidden_keys(const std::string& where, const AttentionInput& input) {
  if (!input.call.key_lengths) return {};
  const at::Tensor& lengths = *input.call.key_lengths;
  const bool whole = at::isIntegralType(lengths.scalar_type(), /*includeBool=*/false);
  if (!whole || !lengths.sizes().equals({input.k.size(0)}) || lengths.device() != input.k.device()) {
    throw usage_error(where, "key_lengths must be (B) integers on the device of k",
                      describe(lengths) + " with k " + describe(input.k),
                      "Give each batch entry its length.");
  }
  const at::Tensor known = lengths.to(at::kLong);
  return (at::arange(input.k.size(2), known.options()) >= known.unsqueeze(1)).unsqueeze(1).unsqueeze(3);
}

at::Tensor filled(const at::Tensor& t, const at::Tensor& hidden, double number) {
  return hidden.defined() ? t.masked_fill(hidden, number) : t;
}

}  // namespace fovea::nn
