#pragma once
#include <ATen/core/Tensor.h>

#include "fovea/kernels/dense_programs.h"
#include "fovea/ops/attend_functors.h"

// What attend() takes as tensors of numbers for each pair, block or distance, as steps of a call. All
// broadcast to (B, H, N, M), which the caller has checked.

namespace fovea {

/// Which tiles the programs of a call will see: none, those of a forward, those of a backward.
enum class Tiles { none, plain, transposed };

/// s + bias.
class DenseBiasFunctors : public AttendFunctors {
 public:
  /// For q (B, H, N, .) and k (., ., M, .).
  DenseBiasFunctors(const at::Tensor& bias, const at::Tensor& q, const at::Tensor& k);
  TileProgram program() const override { return kernels::dense_bias_program(dense_); }
  at::Tensor score(const at::Tensor& scores, const TensorAt& at) const override;
  at::Tensor learned() const override { return bias_; }
  at::Tensor make_sums(int64_t chunks, int64_t heads) const override;
  at::Tensor gradient(const at::Tensor& sums) const override;
  bool learns_each_entry() const override { return bias_.size(0) > 1; }

 private:
  at::Tensor bias_, values_;
  kernels::DenseBias dense_;
};

/// Pairs where mask is true.
class DenseMaskFunctors : public AttendFunctors {
 public:
  DenseMaskFunctors(const at::Tensor& mask, int64_t queries, int64_t keys);
  TileProgram program() const override { return kernels::dense_mask_program(dense_); }
  at::Tensor allowed(const TensorAt&) const override { return mask_; }

 private:
  at::Tensor mask_, values_;
  kernels::DenseMask dense_;
};

/// Positions in a block.
struct BlockSizes {
  int64_t queries, keys;
};

/// Pairs whose block is true, (B|1, H|1, ceil(N / size.queries), ceil(M / size.keys)); see AttendBlocks.
class BlockMaskFunctors : public AttendFunctors {
 public:
  BlockMaskFunctors(const at::Tensor& blocks, BlockSizes size, int64_t queries, int64_t keys);
  TileProgram program() const override { return kernels::block_mask_program(dense_); }
  at::Tensor allowed(const TensorAt& at) const override;

 private:
  at::Tensor blocks_;
  kernels::BlockMask dense_;
};

/// s + diagonals[b, h, j - i + N - 1], (B|1, H|1, N + M - 1).
class DiagonalBiasFunctors : public AttendFunctors {
 public:
  DiagonalBiasFunctors(const at::Tensor& diagonals, int64_t queries, int64_t keys, Tiles tiles);
  TileProgram program() const override { return kernels::diagonal_bias_program(dense_); }
  at::Tensor score(const at::Tensor& scores, const TensorAt& at) const override;
  at::Tensor learned() const override { return diagonals_; }
  at::Tensor make_sums(int64_t chunks, int64_t heads) const override;
  at::Tensor gradient(const at::Tensor& sums) const override;
  bool learns_each_entry() const override { return diagonals_.size(0) > 1; }

 private:
  at::Tensor diagonals_, values_;
  kernels::DiagonalBias dense_;
};

/// s + (values[b, h, q] - values[b, h, k]), (B|1, H|1, T), of as many queries as keys. Of values in float64
/// small differences of large numbers keep their digits, in kernels too.
class DifferenceBiasFunctors : public AttendFunctors {
 public:
  explicit DifferenceBiasFunctors(const at::Tensor& values);
  TileProgram program() const override { return kernels::difference_bias_program(dense_); }
  at::Tensor score(const at::Tensor& scores, const TensorAt& at) const override;
  at::Tensor learned() const override { return differed_; }
  at::Tensor make_sums(int64_t chunks, int64_t heads) const override;
  at::Tensor gradient(const at::Tensor& sums) const override;
  bool learns_each_entry() const override { return differed_.size(0) > 1; }

 private:
  at::Tensor differed_, values_;
  kernels::DifferenceBias dense_;
};

}  // namespace fovea
