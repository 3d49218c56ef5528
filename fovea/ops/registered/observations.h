#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/SymInt.h>

#include <string>
#include <vector>

#include "fovea/ops/attend_observe.h"

// What `observe` of attend()'s schema can name: the results beside the first.

namespace fovea::registered {

/// What shapes of observations are made of. Sizes may be symbols.
struct ObservedSizes {
  c10::SymInt queries, keys;
  const AttendObservation& wanted;
};

struct Observation {
  const char* name;
  /// What Python asks for it by: its name, or a class that holds sizes.
  const char* way;
  /// Of the shape (B, H, ...).
  std::vector<c10::SymInt> (*shape)(const ObservedSizes&);
  /// Its numbers are keys.
  bool holds_keys = false;
  /// Where attend() gives it, with its gradient, and what asks for it; null for what a second pass over the
  /// scores tells.
  at::Tensor AttendResult::*result = nullptr;
  bool AttendOptions::*option = nullptr;
  /// The same of observe_attend(). Sizes ask for what has no flag.
  at::Tensor AttendObserved::*observed = nullptr;
  bool AttendObservation::*flag = nullptr;
};

/// Null when there is none of the name.
const Observation* known_observation(const std::string& name);

/// Throws Error (usage), naming the nearest, when there is none of the name, and where its sizes were not
/// given.
at::Tensor find_observation(const std::string& name, const ObservedAttend& both);

}  // namespace fovea::registered
