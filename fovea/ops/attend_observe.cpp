#include "fovea/ops/attend_observe.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <string>

#include "fovea/core/ceil_div.h"
#include "fovea/core/error.h"
#include "fovea/kernels/observe_args.h"
#include "fovea/ops/attend_checks.h"
#include "fovea/ops/attend_fused.h"
#include "fovea/ops/attend_kernel_args.h"
#include "fovea/ops/attend_normalisers.h"
#include "fovea/ops/attend_observe_composed.h"
#include "fovea/ops/attend_similarity.h"
#include "fovea/ops/call_functors.h"
#include "fovea/ops/choice.h"
#include "fovea/ops/describe.h"

namespace fovea {
namespace {

constexpr const char* kObserve = "observe_attend";

void check_normaliser(const AttendOptions& options) {
  if (has_lse(options.normaliser)) return;
  throw usage_error(kObserve, "only weights of a softmax, with or without sink, can be observed",
                    normaliser_name(options.normaliser), "Ask attend() for the weights themselves.");
}

void check_lse(const at::Tensor& q, const at::Tensor& lse) {
  const bool fits = lse.defined() && (lse.scalar_type() == at::kFloat || lse.scalar_type() == at::kDouble) &&
                    lse.sizes().equals(q.sizes().slice(0, 3)) && lse.device() == q.device();
  if (fits) return;
  throw usage_error(kObserve,
                    "lse must be float or double, of shape (B, H, N) = " +
                        describe_shape(q.sizes().slice(0, 3)) + " and on the device of q",
                    describe(lse), "Take it from attend() with options.lse.");
}

void check_wanted(const at::Tensor& q, const at::Tensor& k, const AttendObservation& wanted) {
  const int64_t n = q.size(2), m = k.size(2);
  if (wanted.top_k && (*wanted.top_k < 1 || *wanted.top_k > m)) {
    throw usage_error(kObserve, "top_k must be in 1 ... M = " + std::to_string(m),
                      std::to_string(*wanted.top_k), "Ask for at most as many as there are keys.");
  }
  if (wanted.blocks && (wanted.blocks->queries < 1 || wanted.blocks->keys < 1)) {
    throw usage_error(kObserve, "the sizes of blocks must be at least 1",
                      describe_shape({wanted.blocks->queries, wanted.blocks->keys}),
                      "They are numbers of queries and keys.");
  }
  for (const int64_t row : wanted.rows) {
    if (row >= 0 && row < n) continue;
    throw usage_error(kObserve, "rows must be queries in [0, N) with N = " + std::to_string(n),
                      std::to_string(row), "Count from the first query.");
  }
}

// Results to be filled; blocks and rows must begin as 0.
AttendObserved make_room(const at::Tensor& q, const at::Tensor& k, const AttendObservation& wanted) {
  const int64_t b = q.size(0), h = q.size(1), n = q.size(2), m = k.size(2);
  const auto floats = q.options().dtype(at::kFloat).requires_grad(false), keys = floats.dtype(at::kLong);
  AttendObserved room;
  if (wanted.entropy) room.entropy = at::empty({b, h, n}, floats);
  if (wanted.distance) room.distance = at::empty({b, h, n}, floats);
  if (wanted.argmax) room.argmax = at::empty({b, h, n}, keys);
  if (wanted.top_k) {
    room.top_weights = at::empty({b, h, n, *wanted.top_k}, floats);
    room.top_keys = at::empty({b, h, n, *wanted.top_k}, keys);
  }
  if (wanted.received) room.received = at::empty({b, h, m}, floats);
  if (wanted.blocks) {
    const auto [queries, of_keys] = *wanted.blocks;
    room.blocks = at::zeros({b, h, ceil_div(n, queries), ceil_div(m, of_keys)}, floats);
  }
  if (!wanted.rows.empty()) {
    room.rows = at::zeros({b, h, static_cast<int64_t>(wanted.rows.size()), m}, floats);
  }
  return room;
}

template <class Number>
Number* data_or_null(const at::Tensor& t) {
  return t.defined() ? t.mutable_data_ptr<Number>() : nullptr;
}

AttendObserved observe_fused(const at::Tensor& q, const at::Tensor& k, const AttendOptions& options,
                             const at::Tensor& lse, const AttendObservation& wanted) {
  const at::Tensor rows_q = with_unit_stride(q), rows_k = with_unit_stride(k),
                   sums = lse.to(at::kFloat).contiguous();
  const FunctorList functors = call_functors(q, k, options, Tiles::plain);
  const auto programs = programs_of(functors);
  const AttendObserved room = make_room(q, k, wanted);
  const ObservedBlocks blocks = wanted.blocks.value_or(ObservedBlocks{0, 0});
  kernels::attend_observe(
      {.n = {q.size(0), q.size(1), k.size(1), q.size(2), k.size(2), q.size(3), /*value_dim=*/0},
       .type = *kernel_type(q.scalar_type()),
       .q = operand(rows_q),
       .k = operand(rows_k),
       .lse = sums.const_data_ptr<float>(),
       .scale = scale_of(q, options),
       .programs = programs,
       .entropy = data_or_null<float>(room.entropy),
       .distance = data_or_null<float>(room.distance),
       .argmax = data_or_null<int64_t>(room.argmax),
       .top = {wanted.top_k.value_or(0), data_or_null<float>(room.top_weights),
               data_or_null<int64_t>(room.top_keys)},
       .received = data_or_null<float>(room.received),
       .blocks = {blocks.queries, blocks.keys, data_or_null<float>(room.blocks)},
       .rows = {wanted.rows, data_or_null<float>(room.rows)}});
  return room;
}

}  // namespace

AttendObserved observe_attend(const at::Tensor& q, const at::Tensor& k, const AttendOptions& options,
                              const at::Tensor& lse, const AttendObservation& wanted) {
  check_attend(q, k, k, options, "observe_attend");
  check_normaliser(options);
  check_lse(q, lse);
  check_wanted(q, k, wanted);
  const at::NoGradGuard no_gradient;
  AttendObservation asked = wanted;
  if (asked.blocks) {  // one block of all is as large as any
    asked.blocks = ObservedBlocks{std::min(asked.blocks->queries, std::max<int64_t>(q.size(2), 1)),
                                  std::min(asked.blocks->keys, std::max<int64_t>(k.size(2), 1))};
  }
  AttendOptions own = options;
  own.weights = false;
  own.lse = true;  // the scores are those that it sums
  return with_operands(q, k, own, [&](const at::Tensor& queries, const at::Tensor& keys) {
    const Refusal reason = why_not_fused(queries, keys, keys, own);
    report_choice("observe_attend", q, k, "fused", reason);
    return (reason ? observe_composed : observe_fused)(queries, keys, own, lse, asked);
  });
}

ObservedAttend attend_observed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttendOptions& options, const AttendObservation& wanted) {
  check_normaliser(options);
  AttendOptions with_lse = options;
  with_lse.lse = true;
  ObservedAttend both{attend(q, k, v, with_lse), {}};
  both.observed = observe_attend(q, k, options, both.result.lse.detach(), wanted);
  if (!options.lse) both.result.lse = at::Tensor();
  return both;
}

}  // namespace fovea
