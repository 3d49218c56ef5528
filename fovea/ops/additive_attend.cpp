#include "fovea/ops/additive_attend.h"

#include <string>
#include <variant>

#include "fovea/core/error.h"
#include "fovea/ops/additive_attend_composed.h"
#include "fovea/ops/additive_attend_fused.h"
#include "fovea/ops/attend_checks.h"
#include "fovea/ops/attend_shapes.h"
#include "fovea/ops/choice.h"
#include "fovea/ops/describe.h"

namespace fovea {
namespace {

constexpr const char* kWhere = "additive_attend";

void check_weights(const at::Tensor& q, const at::Tensor& w) {
  const std::string found = "q " + describe(q) + ", w " + describe(w);
  const bool fits = w.dim() == 1 || (w.dim() == 2 && w.size(0) == q.size(1));
  if (!fits || w.size(-1) != q.size(3)) {
    throw usage_error(kWhere, "w must have the shape (H, E) or (E)", found,
                      "Give it a number for each hidden unit.");
  }
  if (!w.is_floating_point()) {
    throw usage_error(kWhere, "w must hold floating point numbers", found, "Convert it.");
  }
  if (w.device() != q.device()) {
    throw usage_error(kWhere, "q and w must be on one device", found, "Move w to the device of q.");
  }
}

void check_additive(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& w,
                    const AttendOptions& options) {
  check_attend(q, k, v, options, kWhere);
  if (q.size(1) != k.size(1)) {
    throw usage_error(kWhere, "q and k must have the same heads", "q " + describe(q) + ", k " + describe(k),
                      "Repeat the heads of k and v.");
  }
  check_weights(q, w);
  if (options.scale) {
    throw usage_error(kWhere, "additive scores have no scale", describe_number(*options.scale),
                      "Multiply w by it.");
  }
  if (!std::holds_alternative<ScaledDot>(options.similarity) || options.relative_keys) {
    throw usage_error(kWhere,
                      "additive scores have no similarity and no relative keys, which are of products", "one",
                      "Call attend().");
  }
}

constexpr Implementation<at::Tensor, at::Tensor, at::Tensor, at::Tensor> kAdditive[] = {
    {"fused", why_not_additive_fused, additive_attend_fused},
    {"composed", nothing_against, additive_attend_composed},
};

}  // namespace

AttendChoice additive_attend_choice(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                    const at::Tensor& w, const AttendOptions& options) {
  check_additive(q, k, v, w, options);
  if (q.is_meta()) return {"shapes", {}};
  return explain_choice(kAdditive, options, q, k, v, w);
}

AttendResult additive_attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const at::Tensor& w, const AttendOptions& options) {
  check_additive(q, k, v, w, options);
  if (q.is_meta()) return attend_shapes(q, k, v, options);
  return run_best(kWhere, kAdditive, options, q, k, v, w);
}

}  // namespace fovea
