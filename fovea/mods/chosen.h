#pragma once
#include <cstdint>
#include <utility>

#include "fovea/mods/mask.h"
#include "fovea/mods/table.h"

namespace fovea {

/// The keys that each query chose: keys[((b H + h) N + q) count + c] for c in 0 ... count - 1, with `head` =
/// N count and `batch` = H N count. A number below 0 is no key.   count >= 1
struct Chosen : Mask {
  Table<int32_t> keys;
  int32_t batch, head, count;

  Chosen(Table<int32_t> keys, int32_t batch, int32_t head, int32_t count)
      : keys(std::move(keys)), batch(batch), head(head), count(count) {}

  void require(const Extent& n) const {
    require_entries(keys, n.batch * n.heads * n.queries * count, "Chosen",
                    "there must be `count` keys for each query");
  }

  template <class Q, class K>
  auto operator()(const At<Q, K>& at) const {
    const auto first = at.q * count + (at.batch * batch + at.head * head);
    auto found = load(keys, first) == at.k;
    for (int32_t c = 1; c < count; ++c) found = found | (load(keys, first + c) == at.k);
    return found;
  }
  Cover cover(const TileRange& t) const {
    const int32_t* row = keys.data + int64_t{t.batch} * batch + int64_t{t.head} * head;
    for (int64_t place = t.q0 * count; place < t.q1 * count; ++place) {
      if (row[place] >= t.k0 && row[place] < t.k1) return Cover::partial;
    }
    return Cover::skip;
  }
};

}  // namespace fovea
