#include "fovea/ops/attend.h"

#include "fovea/ops/attend_checks.h"
#include "fovea/ops/attend_composed.h"
#include "fovea/ops/attend_decode.h"
#include "fovea/ops/attend_fused.h"
#include "fovea/ops/choice.h"

namespace fovea {
namespace {

constexpr Implementation<at::Tensor, at::Tensor, at::Tensor> kImplementations[] = {
    {"decode", why_not_decode, attend_decode},
    {"fused", why_not_fused, attend_fused},
    {"composed", nothing_against, attend_composed},
};

}  // namespace

AttendChoice attend_choice(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const AttendOptions& options) {
  check_attend(q, k, v, options);
  return explain_choice(kImplementations, options, q, k, v);
}

AttendResult attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    const AttendOptions& options) {
  check_attend(q, k, v, options);
  return run_best("attend", kImplementations, options, q, k, v);
}

}  // namespace fovea
