#include "fovea/nn/attention/engine.h"

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "fovea/core/ceil_div.h"
#include "fovea/core/error.h"
#include "fovea/nn/attention/attend_along.h"
#include "fovea/ops/attend_checks.h"
#include "fovea/ops/attend_normalisers.h"
#include "fovea/ops/attend_packed.h"
#include "fovea/ops/call_functors.h"

namespace fovea::nn {
namespace {

// Shorter ones cost more by themselves than the empty part of tiles does.
constexpr int64_t kShortestLine = 64;

}  // namespace

void EngineOptions::check(const std::string& where) const {
  if (sigmoid_bias && normaliser != "sigmoid") {
    throw usage_error(where, "sigmoid_bias belongs to the normaliser sigmoid", normaliser,
                      "Write normaliser=sigmoid too.");
  }
}

Choice<std::string> normaliser_choice() {
  Choice<std::string> choice;
  for (const auto& name : normaliser_names()) choice.emplace_back(name, name);
  return choice;
}

EngineAttention::EngineAttention(AttentionKind kind, const AttentionShape& shape, EngineOptions options)
    : Attention(std::move(kind), shape), options_(std::move(options)) {
  if (options_.normaliser == "softmax_sink") {
    sinks = register_parameter("sinks", at::zeros({shape.heads}));
  }
}

// A sink of 0 is the paper's.
bool EngineAttention::runs_untrained() const {
  return parameters().size() == static_cast<size_t>(sinks.defined() ? 1 : 0);
}

std::string EngineAttention::exact_form(int64_t n) const {
  std::string text = Attention::exact_form(n);
  if (options_.scale) text += fmt::format(",scale={}", *options_.scale);
  if (options_.softcap) text += fmt::format(",softcap={}", *options_.softcap);
  return text;
}

AttendOptions EngineAttention::options_of(const AttentionCall& call) const {
  AttendOptions o;
  o.scale = options_.scale;
  o.softcap = options_.softcap;
  o.functors = functors();
  o.alibi_slopes = call.alibi_slopes;
  o.relative_table = call.relative_table;
  o.relative_grid = call.relative_grid;
  o.relative_keys = call.relative_keys;
  o.bias = call.bias;
  o.causal = joined_causal(options_.causal, call.causal);
  const AttendWindow sides = window();
  const bool in_functors = options_.dilation > 1 || options_.global > 0;
  if ((sides.left || sides.right) && !in_functors) o.window = sides;
  o.key_lengths = call.key_lengths;
  o.segments = call.segments;
  o.blocks = call.blocks;
  o.mask = call.mask;
  o.normaliser = find_normaliser(options_.normaliser);
  if (auto* sigmoid = std::get_if<Sigmoid>(&o.normaliser)) sigmoid->bias = options_.sigmoid_bias;
  if (auto* sink = std::get_if<SoftmaxSink>(&o.normaliser)) sink->scores = sinks;
  o.dropout_p = call.dropout_p;
  o.seed = call.seed;
  o.weights = call.weights;
  return o;
}

std::shared_ptr<const AttendFunctors> EngineAttention::functors() const {
  if (options_.dilation == 1 && options_.global == 0) return options_.alibi ? bound_with(All{}) : nullptr;
  return bound_with((window_mask(window()) & Dilated(static_cast<int32_t>(options_.dilation))) |
                    Global(static_cast<int32_t>(options_.global)));
}

AttendWindow EngineAttention::window() const {
  return {options_.window_left ? options_.window_left : options_.window,
          options_.window_right ? options_.window_right : options_.window};
}

bool EngineAttention::gathers(int64_t length) const {
  return options_.dilation > 1 && options_.global == 0 && !options_.alibi &&
         length >= kShortestLine * options_.dilation;
}

// Positions of one remainder by dilation are a column of a grid of that width.
AttendResult EngineAttention::attend_dilated(const AttentionInput& in, AttendOptions options) const {
  const int64_t step = options_.dilation;
  // What a call of all pairs would be refused for.
  check_attend(in.q, in.k, in.v, options);
  options.functors = nullptr;
  AttendWindow sides = window();
  if (sides.left) *sides.left /= step;
  if (sides.right) *sides.right /= step;
  if (sides.left || sides.right) options.window = sides;
  return attend_along({{.rows = ceil_div(in.q.size(2), step), .columns = step}, GridAxis::columns}, in,
                      std::move(options));
}

AttendResult EngineAttention::attend_with(const AttentionInput& in, const AttendOptions& options) const {
  if (gathers(in.q.size(2)) && can_follow_lines(in, options)) return attend_dilated(in, options);
  if (!in.call.packed) return attend(in.q, in.k, in.v, options);
  return {attend_packed(in.q, in.k, in.v, in.call.packed->queries, in.call.packed->keys, options), {}, {}};
}

AttendChoice EngineAttention::choice_with(const AttentionInput& in, const AttendOptions& options) const {
  return attend_choice(in.q, in.k, in.v, options);
}

AttendChoice EngineAttention::choice(const AttentionInput& input) {
  AttentionInput prepared = input;
  AttendOptions options = options_of(input.call);
  prepare(prepared, options);
  return choice_with(prepared, options);
}

AttentionOutput EngineAttention::run(const AttentionInput& input) {
  AttentionInput prepared = input;
  AttendOptions options = options_of(input.call);
  prepare(prepared, options);
  if (!asks_anything(input.call.observe)) {
    const AttendResult result = attend_with(prepared, options);
    return {result.out, result.weights, {}};
  }
  const auto [result, observed] =
      attend_observed(prepared.q, prepared.k, prepared.v, options, input.call.observe);
  return {result.out, result.weights, observed};
}

std::optional<at::Tensor> first_rows(const std::optional<at::Tensor>& t, int64_t count) {
  if (!t || t->dim() < 2 || t->size(-2) == 1) return t;
  return t->narrow(-2, 0, count);
}

int64_t count_steps(int64_t low, int64_t high, int64_t i, int64_t step) {
  if (high < low) return 0;
  const int64_t first = low + (((i - low) % step) + step) % step;
  return first > high ? 0 : (high - first) / step + 1;
}

int64_t EngineAttention::pairs(int64_t n, int64_t m) const {
  const auto [left, right] = window();
  const int64_t global = std::min(options_.global, m);
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) {
    int64_t last = m - 1;
    if (options_.causal == CausalAlignment::top_left) last = std::min(last, i);
    if (options_.causal == CausalAlignment::bottom_right) last = std::min(last, i + m - n);
    if (i < options_.global) {
      count += std::max<int64_t>(last + 1, 0);
      continue;
    }
    const int64_t low = left ? std::max<int64_t>(i - *left, 0) : 0,
                  high = right ? std::min(last, i + *right) : last;
    const int64_t globals = std::clamp<int64_t>(last + 1, 0, global);
    count += count_steps(low, high, i, options_.dilation) + globals -
             count_steps(low, std::min(high, globals - 1), i, options_.dilation);
  }
  return count;
}

AttentionCost EngineAttention::cost(int64_t n, int64_t m, int64_t d) const {
  // Keys and values as the kernel reads them, which takes the values of a narrow window where they lie, and a
  // sum for each query; or what the definitions make of scores of all pairs: sorted, in integers, their sums,
  // weights.
  const auto [left, right] = window();
  const bool ordered = options_.causal == CausalAlignment::top_left;
  const bool narrow = left && (right || ordered) && options_.global == 0 &&
                      options_.normaliser == "softmax" &&
                      *left + (ordered ? 0 : *right) < std::min<int64_t>(512, 32768 / d);
  int64_t numbers = (narrow ? 1 : 2) * m * d + n;
  const bool whole = m <= kSortedWhole;
  if (options_.normaliser == "sparsemax") numbers = (whole ? 6 : 5) * n * m;
  if (options_.normaliser == "entmax15") numbers = (whole ? 9 : 5) * n * m;
  if (gathers(n) && n == m) numbers += n * d;
  return {2 * d * pairs(n, m), numbers * kFloatBytes};
}

}  // namespace fovea::nn
