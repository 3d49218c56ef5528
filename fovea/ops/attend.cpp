#include "fovea/ops/attend.h"

#include "fovea/ops/attend_checks.h"
#include "fovea/ops/attend_composed.h"
#include "fovea/ops/attend_decode.h"
#include "fovea/ops/attend_fused.h"
#include "fovea/ops/attend_sdpa.h"
#include "fovea/ops/attend_shapes.h"
#include "fovea/ops/attend_similarity.h"
#include "fovea/ops/choice.h"

namespace fovea {
namespace {

constexpr Implementation<at::Tensor, at::Tensor, at::Tensor> kImplementations[] = {
    {"decode", why_not_decode, attend_decode},
    {"fused", why_not_fused, attend_fused},
    {"sdpa", why_not_sdpa, attend_sdpa},
    {"composed", nothing_against, attend_composed},
};

}  // namespace

AttendChoice attend_choice(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const AttendOptions& options) {
  check_attend(q, k, v, options);
  if (q.is_meta()) return {"shapes", {}};
  return with_operands(q, k, options, [&](const at::Tensor& queries, const at::Tensor& keys) {
    return explain_choice(kImplementations, options, queries, keys, v);
  });
}

AttendResult attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    const AttendOptions& options) {
  check_attend(q, k, v, options);
  if (q.is_meta()) return attend_shapes(q, k, v, options);
  return with_operands(q, k, options, [&](const at::Tensor& queries, const at::Tensor& keys) {
    return run_best("attend", kImplementations, options, queries, keys, v);
  });
}

}  // namespace fovea
