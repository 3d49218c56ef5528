#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <immintrin.h>

#include <algorithm>
#include <limits>

#include "fovea/core/ceil_div.h"
#include "fovea/core/isa.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/lanes.h"
#include "fovea/kernels/cpu/pack.h"
#include "fovea/kernels/cpu/parallel.h"
#include "fovea/kernels/cpu/value_sums.h"
#include "fovea/kernels/exponential_args.h"
#include "fovea/mods/simd.h"

// g++ 12 takes the undefined parts of its own AVX-512 intrinsics for a mistake (its bug 105593).
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace fovea::kernels {
namespace {

// Rows whose powers stay in the first-level cache, whole blocks of the products; and those of one task.
constexpr int64_t kBlock = 24, kTaskRows = 20 * kBlock;

// (rows, width)
struct Powers {
  float* data;
  int64_t rows, features, width;
};

struct ExponentialKernels {
  void (*divided_exponentials)(const Powers&, float* out, int64_t stride);
  void (*finished_powers)(const Powers&, const Rows<float>& x, float norm, float* out, int64_t stride,
                          float* largest);
  void (*exponentiate_rows)(float* rows, int64_t stride, int64_t count, int64_t features, float by);
  void (*power_gradients)(const Rows<float>& grad, const Rows<float>& features, int64_t width, float* out,
                          float* sums);
  void (*without_norms)(const float* from, int64_t width, const Rows<float>& x, float factor,
                        const float* sums, float* out, int64_t stride);
};

#define FOVEA_ROWS "fovea/kernels/cpu/exponential_rows.inl"
#include "fovea/kernels/cpu/each_isa.inl"

ExponentialKernels active_kernels() {
  return for_active_isa(baseline::kernels, avx2::kernels, avx512::kernels)();
}

// Some rows of a head.
struct RowBlock {
  int64_t batch, head, first, count;

  Rows<float> of(const Operand& t, int64_t dim) const {
    return rows_of<float>(t, batch, head, first, count, dim);
  }
  float* of(const Output& t) const { return row_of<float>(t, batch, head, first); }
};

// Calls visit(worker, block) for all rows.
template <class MakeWorker, class Visit>
void for_each_block(const ExponentialSizes& n, const MakeWorker& make_worker, const Visit& visit) {
  const int64_t pieces = ceil_div(n.rows, kTaskRows);
  for_each_task(n.batch * n.heads * pieces, make_worker, [&](auto& worker, int64_t task) {
    const int64_t entry = task / pieces, begin = task % pieces * kTaskRows,
                  end = std::min(begin + kTaskRows, n.rows);
    for (int64_t first = begin; first < end; first += kBlock) {
      visit(worker, RowBlock{entry / n.heads, entry % n.heads, first, std::min(kBlock, end - first)});
    }
  });
}

// w_r . x of a block.
class PowerBlock {
 public:
  explicit PowerBlock(const ExponentialSizes& n)
      : features_(n.features), width_(round_up(n.features, 16)), powers_(kBlock * width_) {}

  Powers multiply(const Rows<float>& x, const float* directions) const {
    sum_values({x.data, x.stride, {directions, width_, x.dim, width_}, static_cast<int32_t>(x.count)},
               powers_.get(), width_);
    for (int64_t i = 0; i < x.count; ++i) {
      std::fill(powers_.get() + i * width_ + features_, powers_.get() + (i + 1) * width_,
                -std::numeric_limits<float>::infinity());
    }
    return {powers_.get(), x.count, features_, width_};
  }

 private:
  int64_t features_, width_;
  Buffer<float> powers_;
};

class GradientBlock {
 public:
  explicit GradientBlock(const ExponentialGradientArgs& args)
      : args_(args),
        feature_width_(round_up(args.n.features, 16)),
        dim_width_(round_up(args.n.dim, 16)),
        of_powers_(kBlock * feature_width_),
        of_rows_(kBlock * dim_width_),
        sums_(kBlock) {}

  void run(const ExponentialKernels& kernels, const RowBlock& block) const {
    const Rows<float> grad = block.of(args_.grad, args_.n.features);
    kernels.power_gradients(grad, block.of(args_.features, args_.n.features), feature_width_,
                            of_powers_.get(), sums_.get());
    sum_values({of_powers_.get(),
                feature_width_,
                {args_.directions, dim_width_, args_.n.features, dim_width_},
                static_cast<int32_t>(block.count)},
               of_rows_.get(), dim_width_);
    kernels.without_norms(of_rows_.get(), dim_width_, block.of(args_.x, args_.n.dim), 2 * args_.norm,
                          sums_.get(), block.of(args_.grad_x), args_.grad_x.row);
  }

 private:
  const ExponentialGradientArgs& args_;
  int64_t feature_width_, dim_width_;  // in whole vectors
  Buffer<float> of_powers_, of_rows_, sums_;
};

}  // namespace

void query_exponentials(const QueryExponentialArgs& args) {
  const ExponentialKernels kernels = active_kernels();
  for_each_block(
      args.n, [&] { return PowerBlock(args.n); },
      [&](const PowerBlock& worker, const RowBlock& block) {
        const Powers powers = worker.multiply(block.of(args.x, args.n.dim), args.directions);
        kernels.divided_exponentials(powers, block.of(args.out), args.out.row);
      });
}

void feature_powers(const FeaturePowerArgs& args) {
  const ExponentialKernels kernels = active_kernels();
  for_each_block(
      args.n, [&] { return PowerBlock(args.n); },
      [&](const PowerBlock& worker, const RowBlock& block) {
        const Rows<float> x = block.of(args.x, args.n.dim);
        const int64_t head = block.batch * args.n.heads + block.head;
        kernels.finished_powers(worker.multiply(x, args.directions), x, args.norm, block.of(args.out),
                                args.out.row, args.largest + head * args.n.rows + block.first);
      });
}

void exponentiate(const ExponentialSizes& n, const Output& powers, const float* by) {
  const ExponentialKernels kernels = active_kernels();
  for_each_block(
      n, [] { return 0; },
      [&](int, const RowBlock& block) {
        kernels.exponentiate_rows(block.of(powers), powers.row, block.count, n.features,
                                  by[block.batch * n.heads + block.head]);
      });
}

void exponential_gradients(const ExponentialGradientArgs& args) {
  const ExponentialKernels kernels = active_kernels();
  for_each_block(
      args.n, [&] { return GradientBlock(args); },
      [&](const GradientBlock& worker, const RowBlock& block) { worker.run(kernels, block); });
}

}  // namespace fovea::kernels
