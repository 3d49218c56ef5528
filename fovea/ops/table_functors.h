#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "fovea/mods/functors.h"
#include "fovea/ops/attend_functors.h"

// What attend() takes as tables of learned numbers, as steps of a call. The definition reads the tensors in
// their own type, kernels in float32.

namespace fovea {

/// factor_h s; (H).
class HeadFactorFunctors : public AttendFunctors {
 public:
  explicit HeadFactorFunctors(const at::Tensor& factors);
  TileProgram program() const override { return tile_program(functors_); }
  at::Tensor score(const at::Tensor& scores, const TensorAt& at) const override;
  at::Tensor learned() const override { return factors_; }
  at::Tensor make_sums(int64_t chunks, int64_t heads) const override;
  at::Tensor gradient(const at::Tensor& sums) const override;

 private:
  at::Tensor factors_;
  Functors<HeadFactor, All> functors_;
};

/// The table (H|1, entries) of a grid written out, (1, H|1, N, M): a dense bias, differentiable.
at::Tensor grid_bias(const at::Tensor& table, int64_t height, int64_t width);

/// s + a number for the difference of places in a grid; see AttendGrid.
class GridFunctors : public AttendFunctors {
 public:
  GridFunctors(const at::Tensor& table, int64_t height, int64_t width);
  TileProgram program() const override { return tile_program(functors_); }
  at::Tensor score(const at::Tensor& scores, const TensorAt& at) const override;
  at::Tensor learned() const override { return table_; }
  at::Tensor make_sums(int64_t chunks, int64_t heads) const override;
  at::Tensor gradient(const at::Tensor& sums) const override;

 private:
  bool shared() const { return table_.size(0) == 1; }

  at::Tensor table_;
  Functors<ByPlace, All> functors_;
};

}  // namespace fovea
