#pragma once
#include <algorithm>
#include <cstdint>

#include "fovea/kernels/attend_args.h"
#include "fovea/kernels/cpu/constants.h"
#include "fovea/kernels/cpu/tile_rows.h"

// The functors of a call, as a kernel runs them on its tiles.

namespace fovea::kernels {

/// A mask is asked about pieces of so many queries.
inline constexpr int64_t kQueryPiece = 64;

inline Cover cover(TilePrograms programs, const TileRange& range) {
  Cover least = Cover::full;
  for (const auto& program : programs) {
    if (program.cover) least = std::min(least, program.cover(program.functors, range));
    if (least == Cover::skip) break;
  }
  return least;
}

/// The range without the first and last pieces of queries that see none of its keys; q0 = q1 where none does.
inline TileRange seen_queries(TilePrograms programs, TileRange range) {
  const int64_t begin = range.q0;
  const auto hidden = [&](int64_t q) {
    TileRange piece = range;
    piece.q0 = q;
    piece.q1 = std::min(q + kQueryPiece, range.q1);
    return cover(programs, piece) == Cover::skip;
  };
  while (range.q0 < range.q1 && hidden(range.q0)) range.q0 = std::min(range.q0 + kQueryPiece, range.q1);
  while (range.q1 > range.q0) {
    const int64_t last = begin + (range.q1 - 1 - begin) / kQueryPiece * kQueryPiece;
    if (!hidden(last)) break;
    range.q1 = last;
  }
  return range;
}

/// A tile as functors see it: its rows are the queries of `range`, or transposed the keys; `columns`, which
/// are its stride too, may go on past the range.
inline ScoreTile plain_tile(const TileRange& range, int64_t columns, float* scores) {
  return {scores,
          nullptr,
          columns,
          static_cast<int32_t>(range.q0),
          static_cast<int32_t>(range.k0),
          static_cast<int32_t>(range.q1 - range.q0),
          static_cast<int32_t>(columns),
          range.batch,
          range.head};
}
inline ScoreTile transposed_tile(const TileRange& range, int64_t columns, float* scores, float* slopes) {
  ScoreTile tile = plain_tile(range, columns, scores);
  tile.slopes = slopes;
  tile.rows = static_cast<int32_t>(range.k1 - range.k0);
  return tile;
}

inline bool hides(TilePrograms programs) {
  return std::any_of(programs.begin(), programs.end(), [](const auto& p) { return p.cover != nullptr; });
}

inline bool has_scores(TilePrograms programs) {
  return std::any_of(programs.begin(), programs.end(),
                     [](const auto& p) { return p.plain.score != nullptr; });
}

/// Whether a score's derivative by what it is given can differ from 1.
inline bool has_slopes(TilePrograms programs) {
  return std::any_of(programs.begin(), programs.end(),
                     [](const auto& p) { return p.plain.score && !p.only_adds; });
}

inline bool learns(TilePrograms programs) {
  return std::any_of(programs.begin(), programs.end(), [](const auto& p) { return p.sums.data != nullptr; });
}

/// Takes the scaled products of a tile to scores, hidden ones to -inf. `range` is the tile's, `partial` false
/// where it hides nothing. `given`, if not null, receives the scores that a program learns from.
inline void run_programs(TilePrograms programs, TileFace TileProgram::*face, const ScoreTile& tile,
                         const TileRange& range, bool partial, float* given = nullptr) {
  for (const auto& program : programs) {
    if (given && program.learns_from_scores) std::copy_n(tile.scores, tile.rows * tile.stride, given);
    if ((program.*face).score) (program.*face).score(program.functors, tile);
  }
  for (const auto& program : programs) {
    if (!partial || !program.cover || program.cover(program.functors, range) == Cover::full) continue;
    (program.*face).mask(program.functors, tile);
  }
}

/// Adds what the programs learn from a transposed tile of gradients by scores, `results` as LearnSums are
/// laid out for.
inline void learn(TilePrograms programs, const ScoreTile& results, int64_t chunk, int64_t head) {
  for (const auto& program : programs) {
    if (!program.sums.data) continue;
    program.learn(program.functors, results,
                  program.sums.data + chunk * program.sums.chunk + head * program.sums.head);
  }
}

/// The same of products, and returns the factor that takes the scores to units of log2. A mask's -inf must
/// not meet a factor below or equal to 0.
inline float shape_scores(TilePrograms programs, TileFace TileProgram::*face, const ScoreTile& tile,
                          const TileRange& range, bool partial, float scale, float* given = nullptr) {
  float factor = scale * kLog2E;
  if (has_scores(programs) || !(factor > 0.0f)) {
    scale_tile(tile, scale);
    factor = kLog2E;
  }
  run_programs(programs, face, tile, range, partial, given);
  return factor;
}

}  // namespace fovea::kernels
