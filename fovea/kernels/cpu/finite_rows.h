#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/pack.h"

namespace fovea::kernels {

/// Rows where they lie, or, if not all of their numbers are finite, a copy with 0 for those: times a weight
/// of 0 they would still be NaN.
class FiniteRows {
 public:
  void load(const Rows<float>& rows) {
    given_ = finite_ = rows;
    spoilt_.clear();
    if (are_finite(rows)) return;
    if (!copy_) copy_.emplace(round_up(rows.count, 16) * rows.dim);
    pack_rows(rows, round_up(rows.count, 16), copy_->get(), spoilt_);
    finite_ = {copy_->get(), rows.dim, rows.count, rows.dim};
  }

  const Rows<float>& finite() const { return finite_; }
  const Rows<float>& given() const { return given_; }
  const float* given(int64_t row) const { return given_.data + row * given_.stride; }
  /// The rows that hold what is not finite.
  const std::vector<int64_t>& spoilt() const { return spoilt_; }

 private:
  Rows<float> given_{}, finite_{};
  std::vector<int64_t> spoilt_;
  std::optional<Buffer<float>> copy_;  // of as many rows at every call
};

}  // namespace fovea::kernels
