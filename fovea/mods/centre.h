#pragma once
#include <algorithm>
#include <cstdint>
#include <utility>

#include "fovea/mods/mask.h"
#include "fovea/mods/table.h"

namespace fovea {

enum class CentreOrder { any, rising };

/// Where among the keys a query looks: table[batch * b + head * h + q], in positions.
struct Centres {
  Table<float> places;
  int32_t batch = 0, head = 0;
  /// Of each head: the range of a tile's is that of its ends where they rise.
  CentreOrder order = CentreOrder::any;

  template <class Q, class K>
  auto index(const At<Q, K>& at) const {
    return at.q + (at.batch * batch + at.head * head);
  }
  /// k - centre
  template <class Q, class K>
  auto distance(const At<Q, K>& at) const {
    return to_float(at.k) - load(places, index(at));
  }
  std::pair<float, float> range(const TileRange& t) const {
    const float* row = places.data + int64_t{t.batch} * batch + int64_t{t.head} * head;
    if (order == CentreOrder::rising) return {row[t.q0], row[t.q1 - 1]};
    const auto [least, most] = std::minmax_element(row + t.q0, row + t.q1);
    return {*least, *most};
  }
};

/// s - (k - centre)^2 / (2 sigma^2): weights times a Gaussian, summed to 1 again.   sigma > 0. Source:
/// Effective approaches to attention-based neural machine translation (Luong et al. 2015), equation 10.
struct AroundCentre {
  static constexpr bool kOnlyAdds = true;
  Centres centres;
  float sigma = 1.0f;

  template <class V, class Q, class K>
  V operator()(V s, const At<Q, K>& at) const {
    const auto away = centres.distance(at) * (1.0f / sigma);
    return s - away * away * 0.5f;
  }

  const Table<float>& learned() const { return centres.places; }
  template <class V, class Q, class K>
  void learn(V gradient, V, const At<Q, K>& at, const TableSums& sums) const {
    add(sums, centres.index(at), gradient * centres.distance(at) * (1.0f / (sigma * sigma)));
  }
};

/// Keys with |k - centre| <= window; none of a centre that is infinite.   Source: as AroundCentre, 3.2
/// (local-p).
struct NearCentre : Mask {
  Centres centres;
  float window;

  NearCentre(Centres centres, float window) : centres(std::move(centres)), window(window) {}

  template <class Q, class K>
  auto operator()(const At<Q, K>& at) const {
    const auto away = centres.distance(at);
    return (away <= window) & (away >= -window);
  }
  Cover cover(const TileRange& t) const {
    const auto [least, most] = centres.range(t);
    const auto first = static_cast<float>(t.k0), last = static_cast<float>(t.k1 - 1);
    if (first - most > window || last - least < -window) return Cover::skip;
    return last - least <= window && first - most >= -window ? Cover::full : Cover::partial;
  }
};

}  // namespace fovea
