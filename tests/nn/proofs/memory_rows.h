#pragma once
#include <vector>

#include "tests/nn/proofs/proof.h"

namespace fovea::proofs {

/// Rows of memories that are read in hops.
std::vector<ProofRow> memory_rows();

}  // namespace fovea::proofs
