#pragma once
#include <algorithm>
#include <cstdint>

#include "fovea/core/ceil_div.h"
#include "fovea/kernels/attend_args.h"
#include "fovea/kernels/cpu/constants.h"
#include "fovea/kernels/cpu/tile_rows.h"

// The functors of a call, as a kernel runs them on its tiles.

namespace fovea::kernels {

/// A mask is asked about pieces of so many queries.
inline constexpr int64_t kQueryPiece = 64;
/// Up to so many keys, what a mask hides is computed too.
inline constexpr int64_t kUncutKeys = 64;

inline Cover cover(TilePrograms programs, const TileRange& range) {
  Cover least = Cover::full;
  for (const auto& program : programs) {
    if (program.cover) least = std::min(least, program.cover(program.functors, range));
    if (least == Cover::skip) break;
  }
  return least;
}

/// The range without the first and last pieces, of so many queries or keys, that see, or are seen by, nothing
/// of it: `begin` and `end` are its queries' or its keys'. Empty where nothing is seen. A piece that one mask
/// hides may stay beside one that another hides, as masks are asked about them together.
inline TileRange trimmed(TilePrograms programs, TileRange range, int64_t TileRange::*begin,
                         int64_t TileRange::*end, int64_t piece) {
  const int64_t first = range.*begin, last = range.*end, pieces = ceil_div(last - first, piece);
  const auto place = [&](int64_t count) { return std::min(first + count * piece, last); };
  const auto hidden = [&](int64_t from, int64_t to) {
    TileRange part = range;
    part.*begin = place(from);
    part.*end = place(to);
    return cover(programs, part) == Cover::skip;
  };
  // The least count in (low, high] of which `holds` is not true, which it is of those below; high if of all.
  const auto bisect = [](int64_t low, int64_t high, const auto& holds) {
    while (high - low > 1) {
      const int64_t middle = low + (high - low) / 2;
      (holds(middle) ? low : high) = middle;
    }
    return high;
  };
  const int64_t seen = bisect(0, pieces + 1, [&](int64_t count) { return hidden(0, count); }) - 1;
  const int64_t unseen =
      bisect(0, pieces - seen + 1, [&](int64_t count) { return hidden(pieces - count, pieces); }) - 1;
  range.*begin = place(seen);
  range.*end = std::max(place(pieces - unseen), range.*begin);
  return range;
}

inline TileRange seen_queries(TilePrograms programs, const TileRange& range, int64_t piece = kQueryPiece) {
  return trimmed(programs, range, &TileRange::q0, &TileRange::q1, piece);
}
inline TileRange seen_keys(TilePrograms programs, const TileRange& range, int64_t piece) {
  return trimmed(programs, range, &TileRange::k0, &TileRange::k1, piece);
}

/// Whether holds(range) of all blocks of so many queries, or keys, of every head.
template <class Holds>
bool all_blocks(const AttendSizes& n, int64_t TileRange::*begin, int64_t TileRange::*end, int64_t block,
                const Holds& holds) {
  for (int64_t row = 0; row < n.batch * n.heads; ++row) {
    const TileRange whole{
        0, n.queries, 0, n.keys, static_cast<int32_t>(row / n.heads), static_cast<int32_t>(row % n.heads)};
    for (TileRange part = whole; part.*begin < whole.*end; part.*begin += block) {
      part.*end = std::min(part.*begin + block, whole.*end);
      if (!holds(part)) return false;
    }
  }
  return true;
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

/// Whether something hides pairs, and can be asked about many ranges.
inline bool cuts(TilePrograms programs) {
  return hides(programs) && std::all_of(programs.begin(), programs.end(),
                                        [](const auto& p) { return !p.cover || p.quick_cover; });
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
