#include "fovea/ops/choice.h"

#include "fovea/ops/describe.h"

namespace fovea {

void report_choice(const char* op, const at::Tensor& q, const at::Tensor& k, const AttendChoice& choice) {
  std::string line = std::string(op) + " q " + describe(q) + ", k " + describe(k) + ": " + choice.name;
  for (const auto& refusal : choice.refusals) line += "; not " + refusal;
  report_dispatch(line);
}

void report_choice(const char* op, const at::Tensor& q, const at::Tensor& k, const char* implementation,
                   const Refusal& refusal) {
  if (!reports_dispatch()) return;
  if (!refusal) return report_choice(op, q, k, {implementation, {}});
  report_choice(op, q, k, {"composed", {implementation + (": " + std::string(*refusal))}});
}

}  // namespace fovea
