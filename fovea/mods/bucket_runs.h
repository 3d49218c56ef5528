#pragma once
#include <cstdint>
#include <utility>

#include "fovea/mods/mask.h"

namespace fovea {

/// Rows in an order of their own, in chunks: head c has the queries of chunk c, and as keys the chunk before
/// it and its own. A query sees the keys whose code is in its first ... last, and never itself. The tables
/// hold `rows` = (chunks + 1) chunk entries for each batch entry, in front the chunk before the first.
/// Source: Reformer (Kitaev et al. 2020), section 2, equation 5 and figure 2.
struct BucketRuns : Mask {
  Table<int32_t> codes, firsts, lasts;
  int32_t chunk, rows;

  BucketRuns(Table<int32_t> codes, Table<int32_t> firsts, Table<int32_t> lasts, int32_t chunk, int32_t rows)
      : codes(std::move(codes)),
        firsts(std::move(firsts)),
        lasts(std::move(lasts)),
        chunk(chunk),
        rows(rows) {}

  template <class Q, class K>
  auto operator()(const At<Q, K>& at) const {
    const auto window = at.batch * rows + at.head * chunk;
    const auto query = window + chunk + at.q;
    const auto code = load(codes, window + at.k);
    return (load(firsts, query) <= code) & (code <= load(lasts, query)) & ((at.k == at.q + chunk) == false);
  }
  Cover cover(const TileRange&) const { return Cover::partial; }
};

}  // namespace fovea
