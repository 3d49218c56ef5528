#pragma once
#include <cstdint>

#include "fovea/kernels/attend_args.h"
#include "fovea/mods/tile_program.h"

// Tile programs of numbers that stand in memory for each pair, instead of being computed from its position.

namespace fovea::kernels {

/// A (batch, head, row, lane) operand; strides in elements, 0 where it is broadcast; `lane` is 0 or 1.
struct Dense {
  const void* data;
  int64_t batch, head, row, lane;
};

/// s + bias[b, h, q, k]; rows are queries. What it learns is laid out alike, rows `learned_row` apart.
/// Numbers that pairs share are added up in float32: for each query (or one for all), each key (or one for
/// all). Where each pair has a number of its own its gradient is stored, in `type`.
struct DenseBias {
  Type type;
  Dense values;
  int64_t queries, keys, learned_row;
  bool each_query, each_key, shared;
};

/// Bytes, 1 = may attend; rows are queries.
struct DenseMask {
  Dense values;
  int64_t queries, keys;
};

/// Bytes, 1 = the queries of a block row, `rows` of them, may attend to the keys of a block column,
/// `columns`. Source: BigBird (Zaheer et al. 2020), section 2; block-sparse transformers (Child et al.
/// 2019), 5.5.
struct BlockMask {
  Dense blocks;
  int64_t queries, keys, rows, columns;
};

/// s + bias[k - q + queries - 1], float32: a bias that depends on the distance alone; for transposed tiles it
/// stands backwards, bias[q - k + keys - 1]. There are 64 numbers of room behind. What it learns stands
/// backwards too, in round_up(queries, 16) + keys numbers.
struct DiagonalBias {
  const float* values;
  int64_t batch, head, queries, keys;
};

/// s + (values[q] - values[k]) of (batch, head, length) numbers in float64, as small differences of large
/// ones would lose their digits; lengths of queries and keys are one. There are 64 numbers of room behind.
/// What it learns is laid out alike, in float64 with the room: what a pair adds to its query it takes from
/// its key, and sums over positions must not find more than that.
struct DifferenceBias {
  const double* values;
  int64_t batch, head;
};

/// Programs for the active instruction set; the argument must outlive them. O(1).
TileProgram dense_bias_program(const DenseBias& bias);
TileProgram dense_mask_program(const DenseMask& mask);
TileProgram block_mask_program(const BlockMask& mask);
TileProgram diagonal_bias_program(const DiagonalBias& bias);
TileProgram difference_bias_program(const DifferenceBias& bias);

}  // namespace fovea::kernels
