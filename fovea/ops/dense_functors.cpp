#include "fovea/ops/dense_functors.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/zeros.h>

#include "fovea/core/ceil_div.h"

namespace fovea {
namespace {

int64_t stride_or_0(const at::Tensor& t, int64_t dim) { return t.size(dim) == 1 ? 0 : t.stride(dim); }

// (., ., rows, lanes) with neighbouring lanes, or one lane for all.
at::Tensor with_lanes(const at::Tensor& t) { return t.size(3) == 1 || t.stride(3) == 1 ? t : t.contiguous(); }

kernels::Dense dense(const at::Tensor& t) {
  return {t.const_data_ptr(), stride_or_0(t, 0), stride_or_0(t, 1), stride_or_0(t, 2), stride_or_0(t, 3)};
}

at::Tensor four_dims(at::Tensor t) {
  while (t.dim() < 4) t = t.unsqueeze(0);
  return t;
}

// What was expanded is one again: only its numbers are read.
at::Tensor collapsed(at::Tensor t) {
  for (int64_t d = 0; d < 4; ++d) {
    if (t.size(d) > 1 && t.stride(d) == 0) t = t.narrow(d, 0, 1);
  }
  return t;
}

// Adds up what a broadcast learned apart: chunks, and heads.
at::Tensor sum_shared(at::Tensor sums, const at::Tensor& learned) {
  for (int64_t d = 0; d < 2; ++d) {
    if (learned.size(d) == 1 && sums.size(d) > 1) sums = sums.sum(d, /*keepdim=*/true);
  }
  return sums;
}

// Kernels read and write past the last position.
constexpr int64_t kRoom = 64;

int64_t padded(int64_t queries) { return round_up(queries, 16); }

}  // namespace

DenseBiasFunctors::DenseBiasFunctors(const at::Tensor& bias, const at::Tensor& q, const at::Tensor& k)
    : bias_(four_dims(bias)), dense_{} {
  if (!bias_.is_cpu()) return;
  const bool bf16 = bias_.scalar_type() == at::kBFloat16;
  values_ = with_lanes(collapsed(bias_.detach()).to(bf16 ? at::kBFloat16 : at::kFloat));
  dense_ = {bf16 ? kernels::Type::bf16 : kernels::Type::f32,
            dense(values_),
            q.size(2),
            k.size(2),
            bias_.size(3),
            bias_.size(2) > 1,
            bias_.size(3) > 1,
            !bias_.sizes().equals({q.size(0), q.size(1), q.size(2), k.size(2)})};
}

at::Tensor DenseBiasFunctors::score(const at::Tensor& scores, const TensorAt&) const {
  return scores + bias_.to(scores.scalar_type());
}

at::Tensor DenseBiasFunctors::make_sums(int64_t chunks, int64_t heads) const {
  if (dense_.shared) return at::zeros({chunks, heads, bias_.size(2), bias_.size(3)}, at::kFloat);
  return at::zeros(bias_.sizes(), values_.scalar_type());
}

at::Tensor DenseBiasFunctors::gradient(const at::Tensor& sums) const {
  return sum_shared(sums, bias_).to(bias_.scalar_type());
}

DenseMaskFunctors::DenseMaskFunctors(const at::Tensor& mask, int64_t queries, int64_t keys)
    : mask_(four_dims(mask)), dense_{} {
  if (!mask_.is_cpu()) return;
  values_ = with_lanes(collapsed(mask_));
  dense_ = {dense(values_), queries, keys};
}

BlockMaskFunctors::BlockMaskFunctors(const at::Tensor& blocks, BlockSizes size, int64_t queries, int64_t keys)
    : blocks_(blocks.contiguous()), dense_{} {
  dense_ = {{nullptr, stride_or_0(blocks_, 0), stride_or_0(blocks_, 1), blocks_.stride(2), 1},
            queries,
            keys,
            size.queries,
            size.keys};
  if (!blocks_.is_meta()) dense_.blocks.data = blocks_.const_data_ptr();
}

at::Tensor BlockMaskFunctors::allowed(const TensorAt& at) const {
  const auto of = [](const at::Tensor& position, int64_t size) {
    return position.flatten().div(size, "floor");
  };
  return blocks_.index_select(2, of(at.q, dense_.rows)).index_select(3, of(at.k, dense_.columns));
}

DiagonalBiasFunctors::DiagonalBiasFunctors(const at::Tensor& diagonals, int64_t queries, int64_t keys,
                                           Tiles tiles)
    : diagonals_(diagonals), dense_{} {
  dense_.queries = queries;
  dense_.keys = keys;
  if (tiles == Tiles::none) return;
  const at::Tensor values = diagonals.detach().to(at::kFloat);
  values_ = at::constant_pad_nd(tiles == Tiles::plain ? values : values.flip(2), {0, kRoom});
  dense_ = {values_.const_data_ptr<float>(), stride_or_0(values_, 0), stride_or_0(values_, 1), queries, keys};
}

at::Tensor DiagonalBiasFunctors::score(const at::Tensor& scores, const TensorAt& at) const {
  const at::Tensor index = at.k - at.q + (at.q.numel() - 1);  // (N, M)
  const at::Tensor pairs = diagonals_.index_select(2, index.flatten());
  return scores + pairs.view({diagonals_.size(0), diagonals_.size(1), index.size(0), index.size(1)})
                      .to(scores.scalar_type());
}

at::Tensor DiagonalBiasFunctors::make_sums(int64_t chunks, int64_t heads) const {
  return at::zeros({chunks, heads, padded(dense_.queries) + dense_.keys}, at::kFloat);
}

at::Tensor DiagonalBiasFunctors::gradient(const at::Tensor& sums) const {
  return sum_shared(sums, diagonals_).slice(2, 0, diagonals_.size(2)).flip(2).to(diagonals_.scalar_type());
}

DifferenceBiasFunctors::DifferenceBiasFunctors(const at::Tensor& values) : differed_(values), dense_{} {
  if (!values.is_cpu()) return;
  values_ = at::constant_pad_nd(values.detach().to(at::kDouble), {0, kRoom});
  dense_ = {values_.const_data_ptr<double>(), stride_or_0(values_, 0), stride_or_0(values_, 1)};
}

at::Tensor DifferenceBiasFunctors::score(const at::Tensor& scores, const TensorAt&) const {
  return scores + (differed_.unsqueeze(3) - differed_.unsqueeze(2)).to(scores.scalar_type());
}

at::Tensor DifferenceBiasFunctors::make_sums(int64_t chunks, int64_t heads) const {
  return at::zeros({chunks, heads, differed_.size(2) + kRoom}, at::kDouble);
}

at::Tensor DifferenceBiasFunctors::gradient(const at::Tensor& sums) const {
  const at::Tensor wide = sum_shared(sums, differed_);
  return wide.slice(2, 0, differed_.size(2)).to(differed_.scalar_type());
}

}  // namespace fovea
