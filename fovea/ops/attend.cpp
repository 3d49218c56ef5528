#include "fovea/ops/attend.h"

#include <array>
#include <string_view>

#include "fovea/ops/attend_checks.h"
#include "fovea/ops/attend_composed.h"
#include "fovea/ops/attend_decode.h"
#include "fovea/ops/attend_dropout.h"
#include "fovea/ops/attend_fused.h"
#include "fovea/ops/describe.h"
#include "fovea/ops/verbose.h"

namespace fovea {
namespace {

using Refusal = std::optional<std::string_view>;

// Best first; the last one can do everything.
struct Implementation {
  const char* name;
  Refusal (*why_not)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const AttendOptions&);
  AttendResult (*run)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const AttendOptions&);
};

Refusal nothing_against(const at::Tensor&, const at::Tensor&, const at::Tensor&, const AttendOptions&) {
  return std::nullopt;
}

constexpr std::array<Implementation, 3> kImplementations = {{
    {"decode", why_not_decode, attend_decode},
    {"fused", why_not_fused, attend_fused},
    {"composed", nothing_against, attend_composed},
}};

const Implementation& choose(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const AttendOptions& options) {
  for (const auto& implementation : kImplementations) {
    if (!implementation.why_not(q, k, v, options)) return implementation;
  }
  return kImplementations.back();
}

// The choice, and what those before it said.
AttendChoice explain_choice(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const AttendOptions& options) {
  AttendChoice choice;
  for (const auto& implementation : kImplementations) {
    choice.name = implementation.name;
    const Refusal reason = implementation.why_not(q, k, v, options);
    if (!reason) break;
    choice.refusals.push_back(choice.name + ": " + std::string(*reason));
  }
  return choice;
}

void report(const at::Tensor& q, const at::Tensor& k, const AttendChoice& choice) {
  std::string line = "attend q " + describe(q) + ", k " + describe(k) + ": " + choice.name;
  for (const auto& refusal : choice.refusals) line += "; not " + refusal;
  report_dispatch(line);
}

}  // namespace

AttendChoice attend_choice(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const AttendOptions& options) {
  check_attend(q, k, v, options);
  return explain_choice(q, k, v, options);
}

AttendResult attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    const AttendOptions& options) {
  check_attend(q, k, v, options);
  if (reports_dispatch()) report(q, k, explain_choice(q, k, v, options));
  const Implementation& implementation = choose(q, k, v, options);
  if (options.dropout_p == 0.0 || options.seed) return implementation.run(q, k, v, options);
  AttendOptions seeded = options;
  seeded.seed = draw_seed();
  return implementation.run(q, k, v, seeded);
}

}  // namespace fovea
