#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fovea/ops/attend_observe.h"
#include "fovea/ops/registered/operators.h"

// The arguments of attend()'s schema by what they mean. additive_attend() has the same, and one more.

namespace fovea::registered {

/// q, k, v and the tensors that stand before the `*` of the options.
constexpr size_t kAttendDifferentiable = 11;

/// Of the schema, after q, k and v.
extern const char* const kAttendOptions;

/// The options of a call. Throws Error (usage) where they say nothing that there is.
AttendOptions options_of(const Arguments& attend);

/// Throws Error (usage) when heads share keys without enable_gqa.
void check_groups(const Arguments& attend);

/// Offsets of the queries and keys of sequences behind each other; empty without. Throws Error (usage) when
/// one of them is missing.
std::optional<std::pair<at::Tensor, at::Tensor>> offsets_of(const Arguments& attend);

/// The names of the results beside the first, in their order.
std::vector<std::string> observed_names(const Arguments& attend);

/// What of them observe_attend() tells, with its sizes.
AttendObservation observation_of(const Arguments& attend);

}  // namespace fovea::registered
