#pragma once
#include <vector>

#include "tests/nn/proofs/proof.h"

namespace fovea::proofs {

/// Of mechanisms that learn what to forget, how far to look and which heads to run.
std::vector<ProofRow> range_rows();

}  // namespace fovea::proofs
