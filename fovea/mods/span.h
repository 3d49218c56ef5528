#pragma once
#include <algorithm>
#include <cstdint>
#include <utility>

#include "fovea/mods/mask.h"
#include "fovea/mods/table.h"

// How far a head, a query or a key reaches, in numbers that learn.

namespace fovea {

/// Whose positions a table of spans has entries for; where it has one for a whole head, either.
enum class SpanOf { query, key };

/// s + log min(m, 1) with m = (ramp + span - |q - k|) / ramp: weights times m, summed to 1 again. span is
/// table[batch * b + head * h + place * q], or k for q.   ramp > 0; keys with m <= 0 are SpanMask's.
/// Source: Adaptive attention span in transformers (Sukhbaatar et al. 2019), equations 2 and 3.
template <SpanOf kOf>
struct SoftSpan {
  static constexpr bool kOnlyAdds = true;
  Table<float> spans;
  int32_t batch = 0, head = 0, place = 0;
  float ramp = 1.0f;

  template <class Q, class K>
  auto share(const At<Q, K>& at) const {
    using std::abs;
    return (load(spans, index(at)) - to_float(abs(at.q - at.k))) * (1.0f / ramp) + 1.0f;
  }

  template <class V, class Q, class K>
  V operator()(V s, const At<Q, K>& at) const {
    const auto m = share(at);
    return s + select(m < 1.0f, log(m), m * 0.0f);
  }

  const Table<float>& learned() const { return spans; }
  template <class V, class Q, class K>
  void learn(V gradient, V, const At<Q, K>& at, const TableSums& sums) const {
    const auto m = share(at);
    add(sums, index(at), select((m > 0.0f) & (m <= 1.0f), gradient / (m * ramp), m * 0.0f));
  }

 private:
  template <class Q, class K>
  auto index(const At<Q, K>& at) const {
    if constexpr (kOf == SpanOf::query) {
      return at.q * place + (at.batch * batch + at.head * head);
    } else {
      return at.k * place + (at.batch * batch + at.head * head);
    }
  }
};

/// Keys whose SoftSpan leaves them some weight: |q - k| < span + ramp.
template <SpanOf kOf>
struct SpanMask : Mask {
  SoftSpan<kOf> soft;

  explicit SpanMask(SoftSpan<kOf> soft) : soft(std::move(soft)) {}

  template <class Q, class K>
  auto operator()(const At<Q, K>& at) const {
    return soft.share(at) > 0.0f;
  }
  Cover cover(const TileRange& t) const {
    const int64_t near = std::max<int64_t>({t.k0 - (t.q1 - 1), t.q0 - (t.k1 - 1), 0}),
                  far = std::max(t.k1 - 1 - t.q0, t.q1 - 1 - t.k0);
    const auto [least, most] = range(t);
    if (most + soft.ramp <= static_cast<float>(near)) return Cover::skip;
    return least + soft.ramp > static_cast<float>(far) ? Cover::full : Cover::partial;
  }

 private:
  std::pair<float, float> range(const TileRange& t) const {
    const float* row = soft.spans.data + int64_t{t.batch} * soft.batch + int64_t{t.head} * soft.head;
    if (soft.place == 0) return {*row, *row};
    const bool queries = kOf == SpanOf::query;
    const auto [least, most] =
        std::minmax_element(row + (queries ? t.q0 : t.k0), row + (queries ? t.q1 : t.k1));
    return {*least, *most};
  }
};

}  // namespace fovea
