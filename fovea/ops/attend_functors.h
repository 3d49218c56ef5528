#pragma once
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log.h>
#include <ATen/ops/tanh.h>

#include <memory>
#include <utility>

#include "fovea/mods/functors.h"
#include "fovea/mods/mask.h"
#include "fovea/mods/score.h"
#include "fovea/mods/tile_program.h"

namespace fovea {

template <>
struct PositionTraits<at::Tensor> {
  using Head = at::Tensor;
  static at::Tensor to_float(const at::Tensor& position) { return position.to(at::kFloat); }
};

/// Positions of all pairs, int64: q (N, 1), k (1, M), batch (B, 1, 1, 1), head (1, H, 1, 1).
using TensorAt = At<at::Tensor, at::Tensor>;

/// A table for functors that holds `values` (1-D, contiguous, float32 for numbers, int32 for integers).
/// Gradients of the composed path reach `values`. Throws Error (usage) on another type or layout.
Table<float> float_table(const at::Tensor& values);
Table<int32_t> int_table(const at::Tensor& values);

/// The tensor that a table holds.
const at::Tensor& table_values(const Table<float>& table);

/// The tensor face of load(): entries at `index`, in its shape.
at::Tensor load(const Table<float>& table, const at::Tensor& index);
at::Tensor load(const Table<int32_t>& table, const at::Tensor& index);

/// One step between q.k and the softmax, with both of its faces: a tile program for kernels, and tensors for
/// the definition.
class AttendFunctors {
 public:
  virtual ~AttendFunctors() = default;
  virtual TileProgram program() const = 0;
  /// `scores` (B, H, N, M), scaled.
  virtual at::Tensor score(const at::Tensor& scores, const TensorAt&) const { return scores; }
  /// Broadcastable to (B, H, N, M), true = may attend; undefined when all may.
  virtual at::Tensor allowed(const TensorAt&) const { return {}; }

  /// Throws Error (usage) where a table does not reach so far. A functor of a user's that has no require() is
  /// taken at its word.
  virtual void require(const Extent&) const {}

  /// The tensor that the score reads and can give a gradient; undefined when there is none.
  virtual at::Tensor learned() const { return {}; }
  /// Zeros (chunks, H, ...) for TileProgram::sums, and the gradient of learned() once a backward has run.
  virtual at::Tensor make_sums(int64_t chunks, int64_t heads) const;
  virtual at::Tensor gradient(const at::Tensor& sums) const;
  /// True when the score reads a table whose tensor requires a gradient that only the definition can give.
  bool needs_definition() const;
  /// learned() has an entry for each batch entry: a chunk is one entry.
  virtual bool learns_each_entry() const { return false; }

 protected:
  /// make_sums() and gradient() of a table: (chunks, H, entries, TableSums::kLanes).
  static at::Tensor make_table_sums(const at::Tensor& table, int64_t chunks, int64_t heads);
  static at::Tensor table_gradient(const at::Tensor& sums);
  /// The same of a tensor (B|1, H|1, ...): entries of heads and batch entries meet only where those share
  /// one.
  static at::Tensor make_own_sums(const at::Tensor& table, int64_t chunks, int64_t heads);
  static at::Tensor own_gradient(const at::Tensor& table, const at::Tensor& sums);
};

namespace detail {

template <class Score, class M>
class BoundFunctors : public AttendFunctors {
 public:
  explicit BoundFunctors(Functors<Score, M> functors) : functors_(std::move(functors)) {}
  TileProgram program() const override { return tile_program(functors_); }
  void require(const Extent& n) const override {
    require_of(functors_.score, n);
    require_of(functors_.mask, n);
  }
  at::Tensor score(const at::Tensor& scores, const TensorAt& at) const override {
    return functors_.score(scores, at);
  }
  at::Tensor allowed(const TensorAt& at) const override {
    if constexpr (std::is_same_v<M, All>) {
      return {};
    } else {
      return functors_.mask(at);
    }
  }
  at::Tensor learned() const override {
    if constexpr (LearningScore<Score>) {
      return table_values(functors_.score.learned());
    } else {
      return {};
    }
  }
  at::Tensor make_sums(int64_t chunks, int64_t heads) const override {
    return make_table_sums(learned(), chunks, heads);
  }
  at::Tensor gradient(const at::Tensor& sums) const override { return table_gradient(sums); }

 private:
  Functors<Score, M> functors_;
};

}  // namespace detail

/// Binds functors for AttendOptions::functors: `bind(Alibi{float_table(slopes)}, Causal{} & Window{256, 0})`.
template <class Score, MaskFunctor M = All>
std::shared_ptr<const AttendFunctors> bind(Score score, M mask = {}) {
  return std::make_shared<detail::BoundFunctors<Score, M>>(
      Functors<Score, M>{std::move(score), std::move(mask)});
}

}  // namespace fovea
