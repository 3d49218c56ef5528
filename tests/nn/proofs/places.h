#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "fovea/nn/attention/registry.h"
#include "tests/nn/proofs/proof.h"

namespace fovea::proofs {

/// Where n positions lie for a row's mechanism.
inline std::optional<nn::GridPositions> places_of(const ProofRow& row, int64_t n) {
  if (!row.grid) return std::nullopt;
  const Grid grid = grid_of(n);
  return nn::GridPositions{grid.rows, grid.columns, grid.tokens};
}

/// The mechanism of `text` for n positions, with a head of 16 channels; rows are `width` wide.
inline std::shared_ptr<nn::Attention> build_for(const ProofRow& row, const std::string& text, int64_t n,
                                                int64_t width) {
  return nn::parse_attention(text).build({1, 1, 16, 16, width, places_of(row, n)});
}

}  // namespace fovea::proofs
