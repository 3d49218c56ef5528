#pragma once
#include <vector>

#include "tests/nn/proofs/proof.h"

namespace fovea::proofs {

/// Rows of mechanisms of images: of grids, and of products of channels.
std::vector<ProofRow> plane_rows();

}  // namespace fovea::proofs
