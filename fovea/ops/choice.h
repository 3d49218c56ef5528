#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>

#include "fovea/ops/attend.h"
#include "fovea/ops/attend_dropout.h"
#include "fovea/ops/verbose.h"

// How attend() and its kin choose among their implementations.

namespace fovea {

using Refusal = std::optional<std::string_view>;

/// One way to compute an operator of some tensors, q and k first, and of options.
template <class... Tensors>
struct Implementation {
  const char* name;
  /// Why it cannot run the call; empty when it can.
  Refusal (*why_not)(const Tensors&..., const AttendOptions&);
  AttendResult (*run)(const Tensors&..., const AttendOptions&);
};

/// The refusals of the implementation that can do everything.
template <class... Args>
Refusal nothing_against(const Args&...) {
  return std::nullopt;
}

/// The first of `implementations`, best first, that can run the call, and what those before it said; the last
/// one can do everything.
template <size_t n, class... Tensors>
AttendChoice explain_choice(const Implementation<Tensors...> (&implementations)[n],
                            const AttendOptions& options, const Tensors&... tensors) {
  AttendChoice choice;
  for (const auto& implementation : implementations) {
    choice.name = implementation.name;
    const Refusal reason = implementation.why_not(tensors..., options);
    if (!reason) break;
    choice.refusals.push_back(choice.name + ": " + std::string(*reason));
  }
  return choice;
}

/// For FOVEA_VERBOSE=dispatch, one line on stderr: `fovea: attend q (1, 2, 5, 8) float cpu, k (1, 2, 5, 8)
/// float cpu: fused; not decode: so many queries are quicker in tiles`.
void report_choice(const char* op, const at::Tensor& q, const at::Tensor& k, const AttendChoice& choice);

/// The same where there is one implementation beside the definition, and `refusal` is its own.
void report_choice(const char* op, const at::Tensor& q, const at::Tensor& k, const char* implementation,
                   const Refusal& refusal);

/// Runs the implementation of explain_choice(), without building its texts unless they are to be reported.
/// Dropout without a seed draws one.
template <size_t n, class... Tensors>
AttendResult run_best(const char* op, const Implementation<Tensors...> (&implementations)[n],
                      const AttendOptions& options, const Tensors&... tensors) {
  if (reports_dispatch()) {
    const auto all = std::tie(tensors...);
    report_choice(op, std::get<0>(all), std::get<1>(all),
                  explain_choice(implementations, options, tensors...));
  }
  const auto* best = &implementations[0];
  while (best != &implementations[n - 1] && best->why_not(tensors..., options)) ++best;
  if (options.dropout_p == 0.0 || options.seed) return best->run(tensors..., options);
  AttendOptions seeded = options;
  seeded.seed = draw_seed();
  return best->run(tensors..., seeded);
}

}  // namespace fovea
