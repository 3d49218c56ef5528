#include "fovea/kernels/dense_programs.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <immintrin.h>

#include <algorithm>
#include <utility>

#include "fovea/core/isa.h"
#include "fovea/kernels/cpu/constants.h"
#include "fovea/kernels/cpu/lanes.h"
#include "fovea/mods/simd.h"

namespace fovea::kernels {
namespace {

// The numbers of a tile's pairs, counted from its first query and key.
template <class T>
struct Place {
  const T* first;
  int64_t stride, lane;

  Place(const Dense& dense, const ScoreTile& t)
      : first(static_cast<const T*>(dense.data) + t.batch * dense.batch + t.head * dense.head +
              t.q0 * dense.row + t.k0 * dense.lane),
        stride(dense.row),
        lane(dense.lane) {}

  const T* row(int32_t query) const { return first + query * stride; }
  T at(int32_t query, int32_t key) const { return first[query * stride + key * lane]; }
};

// Columns of a tile that stand for a key, or a query; the rest pads it.
int32_t keys_inside(const ScoreTile& t, int64_t keys) {
  return static_cast<int32_t>(std::min<int64_t>(t.columns, keys - t.k0));
}
int32_t queries_inside(const ScoreTile& t, int64_t queries) {
  return static_cast<int32_t>(std::min<int64_t>(t.columns, queries - t.q0));
}

struct alignas(64) Block {
  float row[16][16];
};

// body(r0, c0, rows, columns) for blocks of at most 16 by 16 of a transposed tile, without its padding.
// Queries are outer: what stands by query and key is read along its rows.
template <class Body>
__attribute__((always_inline)) inline void for_each_block(const ScoreTile& t, int64_t queries,
                                                          const Body& body) {
  const int32_t columns = queries_inside(t, queries);
  for (int32_t c = 0; c < columns; c += 16) {
    for (int32_t r = 0; r < t.rows; r += 16) body(r, c, std::min(16, t.rows - r), std::min(16, columns - c));
  }
}

template <bool kTransposed>
int64_t diagonal(const DiagonalBias& bias, const ScoreTile& t, int32_t row) {
  if constexpr (kTransposed) {
    return t.q0 - (int64_t{t.k0} + row) + bias.keys - 1;
  } else {
    return t.k0 - (int64_t{t.q0} + row) + bias.queries - 1;
  }
}

using Tile = void (*)(const void*, const ScoreTile&);
using Learn = void (*)(const void*, const ScoreTile&, void*);

struct DensePrograms {
  Tile bias_f32[2], bias_bf16[2], mask[2], diagonal[2], difference[2];  // plain, transposed
  Learn learn_shared, learn_f32, learn_bf16, learn_diagonal, learn_difference;
};

}  // namespace

#define FOVEA_ROWS "fovea/kernels/cpu/dense_rows.inl"
#include "fovea/kernels/cpu/each_isa.inl"

namespace {

DensePrograms dense_programs() {
  return for_active_isa(baseline::programs, avx2::programs, avx512::programs)();
}

// Of rows of bytes: none is 1, some are, all are.
Cover cover_of(const uint8_t* rows, int64_t stride, int64_t count, int64_t columns) {
  uint8_t any = 0, all = 1;
  for (int64_t r = 0; r < (stride ? count : std::min<int64_t>(count, 1)); ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      any |= rows[r * stride + c];
      all &= rows[r * stride + c];
    }
    if (any != all) return Cover::partial;
  }
  return any ? Cover::full : Cover::skip;
}

Cover cover_dense(const void* f, const TileRange& range) {
  const Dense& mask = static_cast<const DenseMask*>(f)->values;
  const auto* rows = static_cast<const uint8_t*>(mask.data) + range.batch * mask.batch +
                     range.head * mask.head + range.q0 * mask.row + range.k0 * mask.lane;
  return cover_of(rows, mask.row, range.q1 - range.q0, mask.lane ? range.k1 - range.k0 : 1);
}

const uint8_t* block_row(const BlockMask& mask, int64_t batch, int64_t head, int64_t query) {
  return static_cast<const uint8_t*>(mask.blocks.data) + batch * mask.blocks.batch + head * mask.blocks.head +
         query / mask.rows * mask.blocks.row;
}

Cover cover_blocks(const void* f, const TileRange& range) {
  const auto& mask = *static_cast<const BlockMask*>(f);
  const int64_t rows = (range.q1 - 1) / mask.rows - range.q0 / mask.rows + 1,
                columns = (range.k1 - 1) / mask.columns - range.k0 / mask.columns + 1;
  return cover_of(block_row(mask, range.batch, range.head, range.q0) + range.k0 / mask.columns,
                  mask.blocks.row, rows, columns);
}

template <bool kTransposed>
void mask_blocks(const void* f, const ScoreTile& t) {
  const auto& mask = *static_cast<const BlockMask*>(f);
  const int64_t row0 = kTransposed ? t.k0 : t.q0, column0 = kTransposed ? t.q0 : t.k0;
  const int64_t columns = kTransposed ? queries_inside(t, mask.queries) : keys_inside(t, mask.keys);
  const int64_t size = kTransposed ? mask.rows : mask.columns;
  for (int64_t r = 0; r < t.rows; ++r) {
    float* scores = t.scores + r * t.stride;
    for (int64_t c = 0; c < columns;) {
      const int64_t block_end = ((column0 + c) / size + 1) * size - column0;
      const int64_t end = std::min(block_end, columns);
      const int64_t query = kTransposed ? column0 + c : row0 + r, key = kTransposed ? row0 + r : column0 + c;
      const bool seen = block_row(mask, t.batch, t.head, query)[key / mask.columns] != 0;
      if (!seen) std::fill(scores + c, scores + end, -kInfinity);
      c = end;
    }
  }
}

}  // namespace

TileProgram dense_bias_program(const DenseBias& bias) {
  const DensePrograms programs = dense_programs();
  const bool bf16 = bias.type == Type::bf16;
  const auto& face = bf16 ? programs.bias_bf16 : programs.bias_f32;
  const Learn learn_own = bf16 ? programs.learn_bf16 : programs.learn_f32;
  return {.functors = &bias,
          .plain = {.score = face[0]},
          .transposed = {.score = face[1]},
          .only_adds = true,
          .learn = bias.shared ? programs.learn_shared : learn_own};
}

TileProgram dense_mask_program(const DenseMask& mask) {
  const DensePrograms programs = dense_programs();
  const Tile(&face)[2] = programs.mask;
  return {
      .functors = &mask, .plain = {.mask = face[0]}, .transposed = {.mask = face[1]}, .cover = cover_dense};
}

TileProgram block_mask_program(const BlockMask& mask) {
  return {.functors = &mask,
          .plain = {.mask = mask_blocks<false>},
          .transposed = {.mask = mask_blocks<true>},
          .cover = cover_blocks};
}

TileProgram diagonal_bias_program(const DiagonalBias& bias) {
  const DensePrograms programs = dense_programs();
  return {.functors = &bias,
          .plain = {.score = programs.diagonal[0]},
          .transposed = {.score = programs.diagonal[1]},
          .only_adds = true,
          .learn = programs.learn_diagonal};
}

TileProgram difference_bias_program(const DifferenceBias& bias) {
  const DensePrograms programs = dense_programs();
  return {.functors = &bias,
          .plain = {.score = programs.difference[0]},
          .transposed = {.score = programs.difference[1]},
          .only_adds = true,
          .learn = programs.learn_difference};
}

}  // namespace fovea::kernels
