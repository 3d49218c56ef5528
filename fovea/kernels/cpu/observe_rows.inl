// The rows of one instruction set, with above() of each; see each_isa.inl.

#include "fovea/kernels/cpu/exp2.inl"
#include "fovea/kernels/cpu/fold.inl"

// Below the floor a weight is 0, and its logarithm must be finite to add nothing. NaN stays NaN: max() gives its
// second argument.
KERNEL float weight_row(float* row, int32_t columns, float factor, float lse) {
  const F floor = broadcast(-127.0f, F{});
  F sum = broadcast(0.0f, F{});
  for (int32_t c = 0; c < columns; c += FOVEA_LANES) {
    const F power = max(floor, weight_power(load(row + c, F{}), factor, lse));
    const F weight = exp2_negative<false>(power);
    store(row + c, weight);
    sum = sum + weight * power;
  }
  return sum_of(sum);
}

KERNEL float distance_row(const float* row, int32_t columns, int32_t first) {
  I lane;
  for (int i = 0; i < FOVEA_LANES; ++i) lane.x[i] = i;
  F sum = broadcast(0.0f, F{});
  for (int32_t c = 0; c < columns; c += FOVEA_LANES) {
    sum = sum + load(row + c, F{}) * to_float(abs(lane + (first + c)));
  }
  return sum_of(sum);
}

KERNEL void add_row(float* sums, const float* row, int32_t columns) {
  for (int32_t c = 0; c < columns; c += FOVEA_LANES) {
    store(sums + c, load(sums + c, F{}) + load(row + c, F{}));
  }
}

// What the `count` largest of a row are above: the largest of each lane are that many numbers of it. Without it
// nearly all of a first row would enter an empty list, only to leave it again.
INLINE float below_largest(const float* row, int32_t columns, int64_t count) {
  if (count > FOVEA_LANES) return 0.0f;
  F largest = broadcast(0.0f, F{});
  for (int32_t c = 0; c < columns; c += FOVEA_LANES) largest = max(load(row + c, F{}), largest);
  std::sort(largest.x, largest.x + FOVEA_LANES, std::greater<>());
  const float least = largest.x[count - 1];
  return least > 0.0f ? std::bit_cast<float>(std::bit_cast<int32_t>(least) - 1) : 0.0f;
}

KERNEL void top_row(const float* row, int32_t columns, int64_t first, const TopList& list) {
  float least = list.least() > 0.0f ? list.least() : below_largest(row, columns, list.count);
  for (int32_t c = 0; c < columns; c += FOVEA_LANES) {
    for (uint32_t larger = above(row + c, least); larger; larger &= larger - 1) {
      const int32_t key = c + std::countr_zero(larger);
      if (!(row[key] > least)) continue;
      list.insert(row[key], first + key);
      least = std::max(least, list.least());
    }
  }
}

static ObserveKernels kernels() { return {weight_row, distance_row, add_row, top_row}; }
