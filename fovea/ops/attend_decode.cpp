#include "fovea/ops/attend_decode.h"

#include <variant>

#include "fovea/core/isa.h"
#include "fovea/kernels/decode_args.h"
#include "fovea/ops/attend_calls.h"
#include "fovea/ops/attend_kernel_args.h"

namespace fovea {

namespace {

// Measured against the fused kernel, whose packing pays with more of them, the sooner the quicker its
// products.
bool has_few_queries(const at::Tensor& q, const at::Tensor& k) {
  const int64_t queries = q.size(2), group = k.size(1) > 0 ? q.size(1) / k.size(1) : 1;
  if (q.scalar_type() == at::kBFloat16 && has_bf16_products()) {
    return queries <= 2 || group * queries <= 16;
  }
  return queries <= 8;
}

}  // namespace

std::optional<std::string_view> why_not_decode(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                               const AttendOptions& options) {
  if (const auto reason = why_not_kernel(q, k, v, options)) return reason;
  if (!has_few_queries(q, k)) return "so many queries are quicker in tiles";
  if (wants_gradient(q, k, v, options)) return "a gradient is wanted";
  if (options.dropout_p > 0.0) return "dropout is asked for";
  if (options.weights) return "the weights are asked for";
  if (!std::holds_alternative<Softmax>(options.normaliser)) return "the normaliser is not softmax";
  return std::nullopt;
}

AttendResult attend_decode(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const AttendOptions& options) {
  const at::Tensor rows_q = with_unit_stride(q), rows_k = with_unit_stride(k), rows_v = with_unit_stride(v);
  const at::Tensor out = empty_output(q, v);
  const at::Tensor lse = room_for(out, options, /*backward=*/false).lse;
  const FunctorList functors = call_functors(q, k, options, Tiles::plain);
  const auto programs = programs_of(functors);
  kernels::decode({.n = sizes(q, k, v),
                   .type = *kernel_type(q.scalar_type()),
                   .q = operand(rows_q),
                   .k = operand(rows_k),
                   .v = operand(rows_v),
                   .out = output(out),
                   .lse = options.lse ? lse.mutable_data_ptr<float>() : nullptr,
                   .scale = scale_of(q, options),
                   .programs = programs,
                   .pages = {},
                   .lengths = nullptr});
  return {out, {}, lse};
}

}  // namespace fovea
