#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "fovea/kernels/cpu/pack.h"

namespace fovea::kernels {

/// Pairs of a tile whose query sees a key that has values which are not finite. Those are packed as 0, since
/// times a weight of 0 they would still be NaN, and reach the queries that see them by themselves.
class SpoiltPairs {
 public:
  /// Of rising `keys`, of which `first` is the tile's column of key 0; asked before the scores become
  /// weights.
  template <class Sees>
  void find(const std::vector<int64_t>& keys, int64_t first, int64_t rows, int64_t columns,
            const Sees& sees) {
    pairs_.clear();
    for (auto key = std::lower_bound(keys.begin(), keys.end(), -first); key != keys.end(); ++key) {
      const int64_t c = first + *key;
      if (c >= columns) break;
      for (int64_t r = 0; r < rows; ++r) {
        if (sees(r, c)) pairs_.push_back({r, c});
      }
    }
  }

  /// out[r] += weight(r, c) times what is not finite of the values (dim) given(c).
  template <class Weight, class Given>
  void spread(const Weight& weight, const Given& given, int64_t dim, float* out, int64_t out_stride) const {
    for (const auto [r, c] : pairs_) {
      const auto* value = given(c);
      float* to = out + r * out_stride;
      for (int64_t d = 0; d < dim; ++d) {
        if (!is_finite(value[d])) to[d] += weight(r, c) * static_cast<float>(value[d]);
      }
    }
  }

 private:
  struct Pair {
    int64_t row, column;
  };
  std::vector<Pair> pairs_;
};

}  // namespace fovea::kernels
