#pragma once
#include <cstdint>
#include <type_traits>
#include <utility>

#include "fovea/mods/mask.h"
#include "fovea/mods/table.h"

namespace fovea {

/// `mask` of queries that were picked out of a sequence: query q stood at places[batch * b + head * h + q],
/// rising with q.
template <MaskFunctor M>
struct Gathered : Mask {
  M mask;
  Table<int32_t> places;
  int32_t batch, head;

  Gathered(M mask, Table<int32_t> places, int32_t batch, int32_t head)
      : mask(std::move(mask)), places(std::move(places)), batch(batch), head(head) {}

  template <class Q, class K>
  auto operator()(const At<Q, K>& at) const {
    const auto place = load(places, at.q + (at.batch * batch + at.head * head));
    return mask(At<std::decay_t<decltype(place)>, K>{place, at.k, at.batch, at.head});
  }
  // Of all that lies between the first and the last of them.
  Cover cover(const TileRange& t) const {
    const int32_t* row = places.data + int64_t{t.batch} * batch + int64_t{t.head} * head;
    TileRange around = t;
    around.q0 = row[t.q0];
    around.q1 = int64_t{row[t.q1 - 1]} + 1;
    return mask.cover(around);
  }
};

}  // namespace fovea
