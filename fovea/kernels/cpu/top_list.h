#pragma once
#include <cstdint>

namespace fovea::kernels {

/// The largest weights of a row so far and their keys; at first 0 and -1. Of few it is always falling; more
/// are a heap, whose first is the least, until sort() makes them fall: M keys cost O(M log count).
struct TopList {
  float* weights;
  int64_t* keys;
  int64_t count;  // >= 1

  bool is_heap() const { return count > kMostSorted; }
  float least() const { return weights[is_heap() ? 0 : count - 1]; }
  /// In the least one's place, which must be smaller. Keys come in ascending order: of equal weights the
  /// first stays.
  void insert(float weight, int64_t key) const;
  void sort() const;

 private:
  static constexpr int64_t kMostSorted = 64;

  bool leaves_before(int64_t a, int64_t b) const;
  void swap(int64_t a, int64_t b) const;
  void sift_down(int64_t at, int64_t end) const;
};

}  // namespace fovea::kernels
