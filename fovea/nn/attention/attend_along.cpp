#include "fovea/nn/attention/attend_along.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/full.h>

#include "fovea/ops/attend_normalisers.h"

namespace fovea::nn {

bool can_follow_lines(const AttentionInput& input, const AttendOptions& o) {
  const bool of_pairs = o.bias || o.mask || o.alibi_slopes || o.relative_table || o.relative_grid ||
                        o.relative_keys || o.segments || o.blocks;
  return input.q.size(2) == input.k.size(2) && has_lse(o.normaliser) && !of_pairs && !input.call.packed &&
         !o.weights && o.dropout_p == 0.0;
}

AttendResult attend_along(const GridLines& lines, const AttentionInput& in, AttendOptions options) {
  const int64_t batch = in.q.size(0), length = in.q.size(2);
  const int64_t missing = lines.count() * lines.length() - length;
  if (missing > 0 && !options.key_lengths) options.key_lengths = at::full({batch}, length, at::kLong);
  if (options.key_lengths) options.key_lengths = lines.key_lengths(*options.key_lengths);
  const auto whole = [&](const at::Tensor& t) {
    return missing == 0 ? t : at::constant_pad_nd(t, {0, 0, 0, missing});
  };
  const auto back = [&](const at::Tensor& t) { return lines.join(t, batch).narrow(2, 0, length); };
  const AttendResult found =
      attend(lines.queries(whole(in.q)), lines.keys(whole(in.k)), lines.keys(whole(in.v)), options);
  return {back(found.out), {}, options.lse ? back(found.lse.unsqueeze(3)).squeeze(3) : at::Tensor()};
}

}  // namespace fovea::nn
