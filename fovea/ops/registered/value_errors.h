#pragma once
#include <c10/util/Exception.h>

#include "fovea/core/error.h"

namespace fovea::registered {

/// What `run` returns; its Error (usage) is thrown on as c10::ValueError, Python's ValueError.
template <class Run>
auto with_value_errors(const Run& run) {
  try {
    return run();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) throw;
    C10_THROW_ERROR(ValueError, error.what());
  }
}

}  // namespace fovea::registered
