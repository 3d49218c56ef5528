#pragma once
#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "fovea/kernels/cpu/constants.h"
#include "fovea/kernels/cpu/decode_rows.h"
#include "fovea/kernels/cpu/pack.h"

namespace fovea::kernels {

/// The values of a block that are not finite: even times a weight of 0 they would make a sum NaN, so that
/// finite copies stand in for them, and what these left out is added to the rows that see them. T is the
/// values' type.
template <class T>
class DecodePoison {
 public:
  /// Of blocks of `stride` values, whose scores (rows x stride) follow each other.
  DecodePoison(int64_t rows, int64_t dim, int64_t stride) : rows_(rows), dim_(dim), stride_(stride) {}

  /// Puts the copies in the place of values; asked before the scores become weights, as they tell who sees
  /// them.
  void take(const float* scores, int32_t count, const void** values) {
    found_.clear();
    finite_.resize(stride_ * dim_);
    for (int32_t c = 0; c < count; ++c) {
      const T* value = static_cast<const T*>(values[c]);
      if (std::all_of(value, value + dim_, [](T x) { return is_finite(x); })) continue;
      Value found{value, c, {}};
      for (int64_t r = 0; r < rows_; ++r) {
        if (scores[r * stride_ + c] != -kInfinity) found.rows.push_back(r);
      }
      found_.push_back(std::move(found));
      values[c] = finite_.data() + c * dim_;
      std::transform(value, value + dim_, finite_.data() + c * dim_,
                     [](T x) { return is_finite(x) ? x : T(0.0f); });
    }
  }

  /// Adds what take() left out to `out`, rows of packed_width(dim).
  void spread(const DecodeKernels& products, const float* weights, float* out) const {
    const int64_t width = packed_width(dim_);
    std::vector<T> rest(dim_);
    std::vector<float> weighted(width);
    for (const Value& poison : found_) {
      std::transform(poison.value, poison.value + dim_, rest.begin(),
                     [](T x) { return is_finite(x) ? T(0.0f) : x; });
      for (const int64_t r : poison.rows) {
        products.pack(rest.data(), dim_, weights[r * stride_ + poison.column], weighted.data());
        for (int64_t d = 0; d < width; ++d) out[r * width + d] += weighted[d];
      }
    }
  }

 private:
  struct Value {
    const T* value;
    int32_t column;
    std::vector<int64_t> rows;  // those who see it
  };

  int64_t rows_, dim_, stride_;
  std::vector<Value> found_;
  std::vector<T> finite_;
};

}  // namespace fovea::kernels
