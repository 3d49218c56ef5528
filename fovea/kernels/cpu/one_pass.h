#pragma once
#include <c10/util/BFloat16.h>

#include <cstdint>
#include <type_traits>

#include "fovea/core/isa.h"

// Scores that become weights, and gradients, where they are made: in registers, or the tile registers beside
// a corner of the first-level cache. Whole tiles of them, written by one kernel and read by the next, would
// go through the second level.

namespace fovea::kernels {

/// Rows of A and `dim` rows of B, `a_stride` and `b_stride` apart, those of B in pairs where they are
/// bfloat16. C is float, or c10::BFloat16 where there are tile registers.
template <class C>
struct ProductOperands {
  const C *a, *b;
  int64_t dim, a_stride, b_stride;
};

/// Whether the active instruction set makes sums of so many terms itself. Of bfloat16 those of whole tile
/// registers.
template <class C>
bool has_one_pass(int64_t dim) {
  return std::is_same_v<C, float> || (active_isa() >= Isa::amx && dim % 32 == 0);
}

/// Products A B to memory: columns a multiple of 16.
struct ProductTile {
  float* products;
  int64_t stride;
  int32_t rows, columns;
};

/// Each sum of floats runs over its terms in their order, as all scores' do: the backward makes the forward's
/// weights again, whichever path either took.
void multiply(const ProductOperands<float>& operands, const ProductTile& to);
void multiply(const ProductOperands<c10::BFloat16>& operands, const ProductTile& to);

/// The same times a factor, rounded once more.
void multiply(const ProductOperands<float>& operands, float factor, const ProductTile& to);

}  // namespace fovea::kernels
