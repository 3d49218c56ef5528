#pragma once
#include <algorithm>
#include <span>

#include "fovea/core/ceil_div.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/deformable_rows.h"
#include "fovea/kernels/deformable_args.h"

namespace fovea::kernels {

/// Points of all levels, as rows of locations and weights count them.
inline int64_t all_points(const DeformableSizes& n, std::span<const MapLevel> levels) {
  return n.points * static_cast<int64_t>(levels.size());
}

/// Room for so many arrays over the points of a query: each ends at a multiple of 16, and is 0 at first.
template <class T>
class PointArrays {
 public:
  PointArrays(int64_t points, int64_t count) : stride_(round_up(points, 16)), data_(count * stride_) {
    std::fill_n(data_.get(), count * stride_, T{});
  }
  T* operator[](int64_t i) const { return data_.get() + i * stride_; }
  int64_t stride() const { return stride_; }

 private:
  int64_t stride_;
  Buffer<T> data_;
};

/// The points of one query after the other.
class Points {
 public:
  Points(const DeformableSizes& n, std::span<const MapLevel> levels)
      : floats_(all_points(n, levels), 9),
        ints_(all_points(n, levels), 11),
        locations_(all_points(n, levels), 2),
        maps_{all_points(n, levels), floats_[0], floats_[1], ints_[0], ints_[1], ints_[10]},
        corners_{{ints_[2], ints_[3], ints_[4], ints_[5]},
                 {ints_[6], ints_[7], ints_[8], ints_[9]},
                 floats_[2],
                 floats_[3],
                 {floats_[4], floats_[5], floats_[6], floats_[7]}} {
    std::fill_n(floats_[0], floats_.stride(), 1.0f);
    std::fill_n(floats_[1], floats_.stride(), 1.0f);
    std::fill_n(ints_[1], ints_.stride(), 1);
    std::fill_n(ints_[10], ints_.stride(), 1);
    for (int64_t p = 0; p < maps_.points; ++p) {
      const MapLevel& level = levels[p / n.points];
      floats_[0][p] = static_cast<float>(level.columns);
      floats_[1][p] = static_cast<float>(level.rows);
      ints_[0][p] = static_cast<int32_t>(level.first);
      ints_[1][p] = static_cast<int32_t>(level.columns);
      ints_[10][p] = static_cast<int32_t>(level.rows);
    }
  }

  /// Rows in whole vectors are read where they lie: `locations` and `weights` must outlive their use.
  void move(const DeformableKernels& kernels, const float* locations, const float* weights) {
    if (maps_.points % 16 != 0) {
      std::copy_n(locations, 2 * maps_.points, locations_[0]);
      std::copy_n(weights, maps_.points, floats_[8]);
      locations = locations_[0], weights = floats_[8];
    }
    weights_ = weights;
    beyond_ = kernels.corners(maps_, locations, weights, corners_);
  }

  const PointMaps& maps() const { return maps_; }
  const Corners& corners() const { return corners_; }
  /// Some lie wholly beyond their map.
  bool beyond() const { return beyond_; }
  const float* weights() const { return weights_; }

 private:
  PointArrays<float> floats_;
  PointArrays<int32_t> ints_;
  PointArrays<float> locations_;  // x and y by turns, so two arrays behind each other
  PointMaps maps_;
  Corners corners_;
  const float* weights_ = nullptr;
  bool beyond_ = false;
};

}  // namespace fovea::kernels
