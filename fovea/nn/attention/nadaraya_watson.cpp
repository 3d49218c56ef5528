#include "fovea/nn/attention/nadaraya_watson.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/ones.h>

#include "fovea/core/error.h"
#include "fovea/ops/attend.h"
#include "fovea/ops/describe.h"

namespace fovea::nn {
namespace {

AttendResult estimate(const at::Tensor& x, const at::Tensor& points, const at::Tensor& values,
                      const at::Tensor& w, AttendOptions options, bool leave_out) {
  const bool fits = x.dim() == 2 && points.dim() == 2 && values.dim() == 2 && x.size(1) == points.size(1) &&
                    values.size(0) == points.size(0) && (!leave_out || x.size(0) == points.size(0));
  if (!fits) {
    throw usage_error("nadaraya_watson",
                      leave_out ? "x and points must be the same (N, D), values (N, Dv)"
                                : "x must be (N, D), points (M, D), values (M, Dv)",
                      describe(x) + ", " + describe(points) + ", " + describe(values), "Reshape them.");
  }
  options.similarity = Gaussian{};
  if (leave_out) options.mask = at::eye(x.size(0), x.options().dtype(at::kBool)).bitwise_not();
  const auto one_head = [](const at::Tensor& t) { return t.unsqueeze(0).unsqueeze(0); };
  const at::Tensor scale = w.to(x.scalar_type());
  return attend(one_head(x * scale), one_head(points * scale), one_head(values), options);
}

}  // namespace

NadarayaWatsonImpl::NadarayaWatsonImpl(bool learned) {
  w = learned ? register_parameter("w", at::ones({1})) : register_buffer("w", at::ones({1}));
}

at::Tensor NadarayaWatsonImpl::forward(const at::Tensor& x, const at::Tensor& points,
                                       const at::Tensor& values, bool leave_out) {
  return estimate(x, points, values, w, {}, leave_out).out[0][0];
}

at::Tensor NadarayaWatsonImpl::weights(const at::Tensor& x, const at::Tensor& points, bool leave_out) {
  AttendOptions options;
  options.weights = true;
  return estimate(x, points, points, w, options, leave_out).weights[0][0];
}

}  // namespace fovea::nn
