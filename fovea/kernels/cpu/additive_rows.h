#pragma once
#include <cstdint>

namespace fovea::kernels {

// tanh(a + b) without an exponential of each sum: with x = e^{2(a - c)} e^{2(b + c)},
//   tanh(a + b) = 1 - 2 / (1 + x),   tanh' = 4 r (1 - r), r = 1 / (1 + x).
// The first factor belongs to one row of a tile, the second, of a table, to all rows whose numbers lie near
// the same centre c: within kReach of it. The second is bounded, so that x stays below 2^62 and one division
// serves two elements; tanh has reached +-1 there. Centres are multiples of a power of two, so that a - c
// and, where it counts, b + c are exact.
namespace additive {
constexpr float kReach = 4.0f, kBound = 17.4f;
/// Lanes of a block of the table: in the first-level cache while all rows pass.
constexpr int32_t kBlock = 64;
}  // namespace additive

/// The rows of a tile, for dims [first, last), an even number of them. Arrays of rows are `width` wide.
struct AdditiveRows {
  const float* powers;   // e^{2(a - c)}
  const int32_t* slots;  // the table's row with the centre of each number
  const float* base;     // what a row adds to its scores
  int32_t count, width, first, last;
};

/// The other side. Lanes are a multiple of 16; the table stands in blocks of kBlock lanes, (block, slot,
/// kBlock).
struct AdditiveLanes {
  const float* table;  // e^{2(b + c)}
  const float* base;
  int32_t count, slots;
};

/// Gradients: from g = d / d score (rows, lanes; stride) row_sums (rows, width) += sum over lanes of g r (1 -
/// r), lane_sums (dims, lane_stride) += the same over rows, dim_sums += sum of g r. Lane sums exist below
/// `dims`. `scratch` has room for 32 numbers a row, and 64 more.
struct AdditiveGradients {
  const float* grad;
  int64_t stride;
  float* row_sums;
  float* lane_sums;
  int64_t lane_stride;
  int32_t dims;
  double* dim_sums;
  float* scratch;
};

struct AdditiveKernels {
  /// powers = e^{2(a - c)} and c of `count` numbers, a multiple of 16.
  void (*split)(const float* numbers, int64_t count, float* powers, float* centres);
  /// One row of the table, kBlock * slots apart from block to block: e^{2(b + centre)}.
  void (*fill)(const float* numbers, float centre, int32_t lanes, float* table, int64_t block);
  /// scores (rows, lanes; stride) += sum over the dims of weight * r; starts from the bases where rows.first
  /// = 0.
  void (*scores)(const AdditiveRows&, const AdditiveLanes&, const float* weights, float* scores,
                 int64_t stride);
  void (*gradients)(const AdditiveRows&, const AdditiveLanes&, const AdditiveGradients&);
};

/// For the active instruction set.
AdditiveKernels additive_kernels();

}  // namespace fovea::kernels
