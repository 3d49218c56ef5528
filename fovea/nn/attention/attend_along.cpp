#include "fovea/nn/attention/attend_along.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/full.h>

#include <variant>

#include "fovea/ops/attend_normalisers.h"

namespace fovea::nn {
namespace {

// Rows stand behind each other in each head: they are heads of their own, without a copy, where no two of
// them differ in anything.
bool are_heads(const GridLines& lines, const AttentionInput& in, const AttendOptions& o) {
  return lines.axis() == GridAxis::rows && lines.count() * lines.length() == in.q.size(2) &&
         in.q.size(1) == in.k.size(1) && !o.key_lengths && std::holds_alternative<ScaledDot>(o.similarity) &&
         std::holds_alternative<Softmax>(o.normaliser);
}

AttendResult attend_heads(const GridLines& lines, const AttentionInput& in, const AttendOptions& options) {
  const auto split = [&](const at::Tensor& t) {
    return t.unflatten(2, {lines.count(), lines.length()}).flatten(1, 2);
  };
  const auto back = [&](const at::Tensor& t) {
    return t.unflatten(1, {in.q.size(1), lines.count()}).flatten(2, 3);
  };
  const AttendResult found = attend(split(in.q), split(in.k), split(in.v), options);
  return {back(found.out), {}, options.lse ? back(found.lse) : at::Tensor()};
}

}  // namespace

bool says_nothing_of_pairs(const AttendOptions& o) {
  const bool of_pairs = o.bias || o.mask || o.alibi_slopes || o.relative_table || o.relative_grid ||
                        o.relative_keys || o.segments || o.blocks;
  return !of_pairs && !o.weights && o.dropout_p == 0.0;
}

bool can_follow_lines(const AttentionInput& input, const AttendOptions& o) {
  return input.q.size(2) == input.k.size(2) && has_lse(o.normaliser) && says_nothing_of_pairs(o) &&
         !input.call.packed;
}

AttendResult attend_along(const GridLines& lines, const AttentionInput& in, AttendOptions options) {
  if (are_heads(lines, in, options)) return attend_heads(lines, in, options);
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
