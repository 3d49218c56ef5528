#pragma once
#include <vector>

#include "tests/nn/proofs/proof.h"

namespace fovea::proofs {

/// Mechanisms whose weights are products of features.
std::vector<ProofRow> kernel_map_rows();

}  // namespace fovea::proofs
