#pragma once
#include <vector>

#include "tests/nn/proofs/proof.h"

namespace fovea::proofs {

/// Of hashed and low-rank mechanisms.
std::vector<ProofRow> low_rank_rows();

}  // namespace fovea::proofs
