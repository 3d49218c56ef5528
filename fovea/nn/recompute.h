#pragma once

namespace fovea::nn {

/// True while a checkpoint runs its function again for the backward pass, on the thread that does so. A
/// module whose forward counts or reports something asks it, so that each batch is counted once.
bool recomputing();

/// Makes recomputing() true until it ends; scopes nest.
class RecomputeScope {
 public:
  RecomputeScope();
  ~RecomputeScope();
  RecomputeScope(const RecomputeScope&) = delete;
  RecomputeScope& operator=(const RecomputeScope&) = delete;
};

}  // namespace fovea::nn
