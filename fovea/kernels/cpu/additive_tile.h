#pragma once
#include <cstdint>
#include <limits>
#include <vector>

#include "fovea/kernels/cpu/additive_rows.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/pack.h"

namespace fovea::kernels {

/// Numbers of one side that lie along the vectors: (dim, stride), `count` of them a multiple of 16.
struct AdditiveColumns {
  const float* numbers;
  int64_t stride;
  const float* base;  // 0, or NaN for a column that holds one
  int32_t count;
};

/// base[j] = NaN where column j of numbers (dim, stride) holds one, otherwise 0.
void mark_nan_columns(const float* numbers, int64_t dim, int64_t stride, int64_t count, float* base);

/// Tiles of additive scores, s_ij = sum_e w_e tanh(a_ie + b_je), and of their gradients. Rows are loaded once
/// and meet many columns. The fewer centres the rows of a dim need, the cheaper: one for each 8 of their
/// range.
class AdditiveTile {
 public:
  AdditiveTile(int64_t most_rows, int64_t most_columns, int64_t dim);

  /// w (dim).
  void set_weights(const float* w);

  template <class T>
  void load(const Rows<T>& rows) {
    count_ = static_cast<int32_t>(rows.count);
    for (int64_t r = 0; r < rows.count; ++r) {
      float* to = powers_.get() + r * width_;
      bool nan = false;
      for (int64_t d = 0; d < dim_; ++d) {
        to[d] = static_cast<float>(rows.data[r * rows.stride + d]);
        nan |= to[d] != to[d];
      }
      std::fill(to + dim_, to + width_, 0.0f);
      base_[r] = nan ? std::numeric_limits<float>::quiet_NaN() : total_weight_;
    }
    split();
  }

  /// scores (rows, columns; stride).
  void scores(const AdditiveColumns& columns, float* scores, int64_t stride);

  /// Adds what d / d score, (rows, columns; stride), gives to the sums below. lane_sums is (dim,
  /// lane_stride).
  void add_gradients(const AdditiveColumns& columns, const float* grad, int64_t stride, float* lane_sums,
                     int64_t lane_stride);

  /// Starts new sums of the rows; those of the dims go on.
  void clear_row_sums();
  /// sum over columns of grad r (1 - r), r = 1 / (1 + e^{2(a + b)}): times 4 w_e, the gradients of rows,
  /// row_sums_stride() apart.
  const float* row_sums() const { return row_sums_.get(); }
  int64_t row_sums_stride() const { return width_; }
  /// sum over rows and columns of grad r: dw_e = sum of grad - 2 of it.
  double dim_sum(int64_t dim) const { return dim_sums_[dim]; }
  void clear_dim_sums();

 private:
  // Dims whose rows of the table fit it together.
  struct Chunk {
    int32_t first, last, first_slot, slots;
  };
  struct Slot {
    int64_t dim;
    float centre;
  };

  void split();
  void number_centres();
  void make_chunks();
  AdditiveRows rows(const Chunk& chunk) const;
  AdditiveLanes fill_table(const Chunk& chunk, const AdditiveColumns& columns);

  AdditiveKernels kernels_;
  int64_t most_rows_, dim_, width_;
  float total_weight_ = 0.0f;
  int32_t count_ = 0;
  Buffer<float> weights_, powers_, centres_, found_, base_, table_, row_sums_, scratch_;
  Buffer<int32_t> slots_, counts_, offsets_;
  Buffer<double> dim_sums_;
  std::vector<Chunk> chunks_;
  std::vector<Slot> table_slots_;
};

}  // namespace fovea::kernels
