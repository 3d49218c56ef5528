#include "fovea/nn/recompute.h"

namespace fovea::nn {
namespace {

thread_local int depth = 0;

}  // namespace

bool recomputing() { return depth > 0; }

RecomputeScope::RecomputeScope() { ++depth; }
RecomputeScope::~RecomputeScope() { --depth; }

}  // namespace fovea::nn
