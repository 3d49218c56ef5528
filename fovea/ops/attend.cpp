#include "fovea/ops/attend.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "fovea/core/error.h"
#include "fovea/ops/attend_composed.h"
#include "fovea/ops/attend_fused.h"
#include "fovea/ops/describe.h"

namespace fovea {
namespace {

[[noreturn]] void refuse(const std::string& rule, const std::string& found, const std::string& remedy) {
  throw usage_error("attend", rule + "; found " + found + ". " + remedy);
}

void check_shapes(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const std::string found = "q " + describe(q) + ", k " + describe(k) + ", v " + describe(v);
  if (q.dim() != 4 || k.dim() != 4 || v.dim() != 4) {
    refuse("q, k and v must have 4 dimensions (B, H, T, D)", found,
           "Add the missing dimensions with unsqueeze.");
  }
  if (q.size(3) != k.size(3)) refuse("q and k must share head_dim", found, "Project k to the size of q.");
  if (q.size(0) != k.size(0) || q.size(0) != v.size(0)) {
    refuse("q, k and v must share the batch size", found, "Expand the smaller ones.");
  }
  if (k.size(1) != v.size(1) || k.size(2) != v.size(2)) {
    refuse("k and v must share heads and length", found, "Give every key one value.");
  }
  const bool grouped = k.size(1) > 0 && q.size(1) % k.size(1) == 0;
  if (!grouped && q.size(1) != k.size(1)) {
    refuse("the heads of q must be a multiple of those of k", found, "Repeat the heads of k and v.");
  }
}

void check_types(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const std::string found = "q " + describe(q) + ", k " + describe(k) + ", v " + describe(v);
  if (!q.is_floating_point()) refuse("q, k and v must hold floating point numbers", found, "Convert them.");
  if (q.scalar_type() != k.scalar_type() || q.scalar_type() != v.scalar_type()) {
    refuse("q, k and v must share one type", found, "Convert them to the type of q.");
  }
  if (q.device() != k.device() || q.device() != v.device()) {
    refuse("q, k and v must be on one device", found, "Move them to the device of q.");
  }
}

bool broadcasts(const at::Tensor& t, at::IntArrayRef scores) {
  if (t.dim() > 4) return false;
  for (int64_t d = 1; d <= t.dim(); ++d) {
    if (t.size(-d) != 1 && t.size(-d) != scores[4 - d]) return false;
  }
  return true;
}

void check_options(const at::Tensor& q, const at::Tensor& k, const AttendOptions& options) {
  const std::array<int64_t, 4> scores = {q.size(0), q.size(1), q.size(2), k.size(2)};
  if (options.mask && (options.mask->scalar_type() != at::kBool || !broadcasts(*options.mask, scores))) {
    refuse("the mask must be boolean and broadcastable to (B, H, N, M)", describe(*options.mask),
           "true means: may attend. A mask of numbers to be added is options.bias.");
  }
  if (options.bias && (!options.bias->is_floating_point() || !broadcasts(*options.bias, scores))) {
    refuse("the bias must hold floating point numbers and be broadcastable to (B, H, N, M)",
           describe(*options.bias), "Give it the shape (B|1, H|1, N|1, M|1).");
  }
  if (options.scale && !std::isfinite(*options.scale)) {
    refuse("the scale must be finite", std::to_string(*options.scale), "Leave it empty for 1 / sqrt(D).");
  }
  if (!(options.dropout_p >= 0.0 && options.dropout_p < 1.0)) {
    refuse("dropout_p must be in [0, 1)", std::to_string(options.dropout_p),
           "It is the part that is dropped.");
  }
}

void check_arguments(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const AttendOptions& options) {
  check_shapes(q, k, v);
  check_types(q, k, v);
  check_options(q, k, options);
}

using Refusal = std::optional<std::string>;

// Best first; the last one can do everything.
struct Implementation {
  const char* name;
  Refusal (*why_not)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const AttendOptions&);
  AttendResult (*run)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const AttendOptions&);
};

Refusal nothing_against(const at::Tensor&, const at::Tensor&, const at::Tensor&, const AttendOptions&) {
  return std::nullopt;
}

constexpr std::array<Implementation, 2> kImplementations = {{
    {"fused", why_not_fused, attend_fused},
    {"composed", nothing_against, attend_composed},
}};

struct Chosen {
  const Implementation* implementation;
  std::vector<std::string> refusals;
};

Chosen choose(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttendOptions& options) {
  Chosen chosen{&kImplementations.back(), {}};
  for (const auto& implementation : kImplementations) {
    const Refusal reason = implementation.why_not(q, k, v, options);
    if (!reason) {
      chosen.implementation = &implementation;
      break;
    }
    chosen.refusals.push_back(std::string(implementation.name) + ": " + *reason);
  }
  return chosen;
}

bool wants_report() {
  static const bool wanted = [] {
    const char* asked = std::getenv("FOVEA_VERBOSE");
    return asked && std::string_view(asked) == "dispatch";
  }();
  return wanted;
}

void report(const at::Tensor& q, const at::Tensor& k, const Chosen& chosen) {
  std::string line =
      "fovea: attend q " + describe(q) + ", k " + describe(k) + ": " + chosen.implementation->name;
  for (const auto& refusal : chosen.refusals) line += "; not " + refusal;
  std::fprintf(stderr, "%s\n", line.c_str());
}

}  // namespace

AttendChoice attend_choice(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const AttendOptions& options) {
  check_arguments(q, k, v, options);
  auto chosen = choose(q, k, v, options);
  return {chosen.implementation->name, std::move(chosen.refusals)};
}

AttendResult attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    const AttendOptions& options) {
  check_arguments(q, k, v, options);
  const Chosen chosen = choose(q, k, v, options);
  if (wants_report()) report(q, k, chosen);
  return chosen.implementation->run(q, k, v, options);
}

}  // namespace fovea
