#include <ATen/OpMathType.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <utility>

#include "fovea/core/error.h"
#include "fovea/ops/additive_attend.h"
#include "fovea/ops/attend_packed.h"
#include "fovea/ops/registered/attend_arguments.h"
#include "fovea/ops/registered/observations.h"
#include "fovea/ops/registered/value_errors.h"

namespace fovea::registered {
namespace {

bool is_part_of_result(const std::string& name) {
  const Observation* known = known_observation(name);
  return known && known->result;
}

// Something that a second pass over the scores tells.
bool observes(const Arguments& a) {
  const auto names = observed_names(a);
  return !std::all_of(names.begin(), names.end(), is_part_of_result);
}

// What the schemas promise, in the order of `observe`.
std::vector<at::Tensor> results_of(const Arguments& a, const ObservedAttend& both) {
  std::vector<at::Tensor> results = {both.result.out};
  for (const std::string& name : observed_names(a)) results.push_back(find_observation(name, both));
  return results;
}

void refuse_to_observe(const char* where, const char* what) {
  throw usage_error(where, std::string("only weights and lse can be asked of ") + what, "another observation",
                    "Leave it out.");
}

ObservedAttend compute(const Arguments& a) {
  check_groups(a);
  const at::Tensor q = a[kQ].toTensor(), k = a[kK].toTensor(), v = a[kV].toTensor();
  const AttendOptions options = options_of(a);
  if (const auto offsets = offsets_of(a)) {
    if (observes(a)) refuse_to_observe("attend_packed", "sequences behind each other");
    return {{attend_packed(q, k, v, offsets->first, offsets->second, options), {}, {}}, {}};
  }
  if (observes(a)) return attend_observed(q, k, v, options, observation_of(a));
  return {attend(q, k, v, options), {}};
}

std::vector<at::Tensor> run_attend(const Arguments& a) {
  return with_value_errors([&] { return results_of(a, compute(a)); });
}

// Of what is observed.
at::Tensor observed_shape(const std::string& name, const Arguments& a) {
  const at::Tensor q = a[kQ].toTensor(), k = a[kK].toTensor();
  const Observation* known = known_observation(name);
  const AttendObservation wanted = observation_of(a);
  std::vector<c10::SymInt> shape = {q.sym_size(0), q.sym_size(1)};
  const ObservedSizes sizes{q.sym_size(2), k.sym_size(-2), wanted};
  // An unknown name is refused where the operator runs.
  const std::vector<c10::SymInt> rest = known ? known->shape(sizes) : std::vector{sizes.queries};
  shape.insert(shape.end(), rest.begin(), rest.end());
  const auto type = known && known->holds_keys ? at::kLong : at::toOpMathType(q.scalar_type());
  return at::empty_symint(shape, q.options().requires_grad(false).dtype(type));
}

std::vector<at::Tensor> attend_shapes(const Arguments& a) {
  const at::Tensor q = a[kQ].toTensor();
  std::vector<c10::SymInt> shape = q.sym_sizes().vec();
  shape.back() = a[kV].toTensor().sym_size(-1);
  std::vector<at::Tensor> results = {at::empty_symint(shape, q.options().requires_grad(false))};
  for (const std::string& name : observed_names(a)) results.push_back(observed_shape(name, a));
  return results;
}

std::vector<bool> attend_gradients(const Arguments& a) {
  std::vector<bool> have = {true};
  for (const std::string& name : observed_names(a)) have.push_back(is_part_of_result(name));
  return have;
}

// additive_attend() takes `w` after v.
constexpr size_t kW = kV + 1;

std::pair<at::Tensor, Arguments> without_w(Arguments a) {
  const at::Tensor w = a[kW].toTensor();
  a.erase(a.begin() + kW);
  return {w, std::move(a)};
}

std::vector<at::Tensor> run_additive(const Arguments& all) {
  return with_value_errors([&] {
    const auto [w, a] = without_w(all);
    if (observes(a)) refuse_to_observe("additive_attend", "additive scores");
    if (offsets_of(a)) {
      throw usage_error("additive_attend", "sequences behind each other are not taken", "cu_seqlens_q",
                        "Pad them, with key_lengths, or call it for each.");
    }
    const AttendResult result =
        additive_attend(a[kQ].toTensor(), a[kK].toTensor(), a[kV].toTensor(), w, options_of(a));
    return results_of(a, {result, {}});
  });
}

std::vector<at::Tensor> additive_shapes(const Arguments& all) { return attend_shapes(without_w(all).second); }

std::vector<bool> additive_gradients(const Arguments& all) { return attend_gradients(without_w(all).second); }

std::string attend_arguments() { return std::string("Tensor q, Tensor k, Tensor v, ") + kAttendOptions; }

std::string additive_attend_arguments() {
  return std::string("Tensor q, Tensor k, Tensor v, Tensor w, ") + kAttendOptions;
}

}  // namespace

const Operator kAttend = {
    "fovea::attend", "fovea::attend_backward", attend_arguments, kAttendDifferentiable, run_attend,
    attend_shapes,   attend_gradients};

const Operator kAdditiveAttend = {"fovea::additive_attend",
                                  "fovea::additive_attend_backward",
                                  additive_attend_arguments,
                                  kAttendDifferentiable + 1,
                                  run_additive,
                                  additive_shapes,
                                  additive_gradients};

}  // namespace fovea::registered
