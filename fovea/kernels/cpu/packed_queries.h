#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "fovea/kernels/attend_args.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/constants.h"
#include "fovea/kernels/cpu/pack.h"
#include "fovea/kernels/cpu/spoilt_pairs.h"

namespace fovea::kernels {

/// Weights of the queries from `first` on, keys as rows.
struct WeightTile {
  const float* weights;
  int64_t first, rows, columns;
};

/// The log-sum-exp of `width` queries in units of log2, +inf for one that sees neither key nor sink, and
/// delta, the sum of gradient times result less d(loss) / d(lse). The first of them, of which `g` are the
/// gradients, is `row` among those of all heads; those past the last are padding.
template <class T>
void load_row_sums(const BackwardArgs& args, const Rows<T>& g, int64_t row, int64_t width, float* lse,
                   float* delta) {
  dot_rows(g, args.out + row * g.dim, delta);
  for (int64_t r = 0; r < g.count; ++r) {
    if (args.grad_lse) delta[r] -= args.grad_lse[row + r];
    lse[r] = args.lse[row + r] == -kInfinity ? kInfinity : args.lse[row + r] * kLog2E;
  }
  std::fill(lse + g.count, lse + width, kInfinity);
  std::fill(delta + g.count, delta + width, 0.0f);
}

// The sink's weight is w = exp(sink - lse) and its value 0: d(loss) / d(sink) = sum of w (0 - delta), both as
// of load_row_sums(). A row that sees no key gives 0 whatever the sink: of its gradients only that of lse
// counts, even beside NaN.
inline float sink_gradient(const BackwardArgs& args, int64_t batch, int64_t head, const float* lse,
                           const float* delta) {
  const int64_t first = (batch * args.n.heads + head) * args.n.queries, dim = args.n.value_dim;
  const float sink = args.normaliser.sinks[head] * kLog2E;
  double sum = 0.0;
  for (int64_t q = 0; q < args.n.queries; ++q) {
    const float* out = args.out + (first + q) * dim;
    const bool empty = std::all_of(out, out + dim, [](float x) { return x == 0.0f; });
    const float lse_part = args.grad_lse ? args.grad_lse[first + q] : 0.0f;
    const float weight = std::exp2(sink - lse[q]);
    if (weight != 0.0f) sum += weight * (empty ? lse_part : -delta[q]);
  }
  return static_cast<float>(sum);
}

/// What the backward needs of the queries of one head, packed by blocks of kBlock. T is the operands' type, C
/// that of the products.
template <class T, class C>
class PackedQueries {
 public:
  static constexpr int64_t kBlock = 256;

  /// The most queries of a block.
  static int64_t block(int64_t queries) { return std::min(kBlock, round_up(queries, 16)); }

  explicit PackedQueries(const BackwardArgs& args)
      : args_(args),
        padded_(round_up(args.n.queries, 16)),
        dim_(round_up(args.n.dim, kPair<C>)),
        value_dim_(round_up(args.n.value_dim, kPair<C>)),
        q_columns_(padded_ * dim_),
        q_rows_(padded_ * args.n.dim),
        g_columns_(padded_ * value_dim_),
        g_rows_(padded_ * args.n.value_dim),
        lse_(padded_),
        delta_(padded_),
        grad_(padded_ * args.n.dim) {}

  void load(int64_t batch, int64_t head) {
    batch_ = batch;
    head_ = head;
    poisoned_.assign((args_.n.queries + kBlock - 1) / kBlock, {});
    clear_gradient();
    for (int64_t q0 = 0; q0 < args_.n.queries; q0 += kBlock) {
      const int64_t count = std::min(kBlock, args_.n.queries - q0);
      const auto q = rows_of<T>(args_.q, batch, head, q0, count, args_.n.dim);
      const auto g = rows_of<T>(args_.grad_out, batch, head, q0, count, args_.n.value_dim);
      std::vector<int64_t> spoilt_queries;  // their weights are NaN where they count
      pack_transposed(q, width(q0), q_columns_.get() + q0 * dim_);
      pack_rows(q, width(q0), q_rows_.get() + q0 * args_.n.dim, spoilt_queries);
      pack_transposed(g, width(q0), g_columns_.get() + q0 * value_dim_);
      pack_rows(g, width(q0), g_rows_.get() + q0 * args_.n.value_dim, poisoned_[q0 / kBlock]);
      load_row_sums(args_, g, (batch * args_.n.heads + head) * args_.n.queries + q0, width(q0),
                    lse_.get() + q0, delta_.get() + q0);
    }
    if (args_.grad_sinks) {
      args_.grad_sinks[batch * args_.n.heads + head] =
          sink_gradient(args_, batch, head, lse_.get(), delta_.get());
    }
  }

  void clear_gradient() { std::fill(grad_.get(), grad_.get() + padded_ * args_.n.dim, 0.0f); }

  int64_t dim() const { return dim_; }
  int64_t value_dim() const { return value_dim_; }
  int64_t width(int64_t q0) const { return std::min(kBlock, padded_ - q0); }

  /// B operands of queries q0 + offset ..., transposed (rows width(q0) apart) and plain.
  const C* q_columns(int64_t q0, int64_t offset) const {
    return q_columns_.get() + q0 * dim_ + offset * kPair<C>;
  }
  const C* g_columns(int64_t q0, int64_t offset) const {
    return g_columns_.get() + q0 * value_dim_ + offset * kPair<C>;
  }
  const C* q_rows(int64_t query) const { return q_rows_.get() + query * args_.n.dim; }
  const C* g_rows(int64_t query) const { return g_rows_.get() + query * args_.n.value_dim; }
  /// In units of log2; +inf for a query that sees neither key nor sink.
  const float* lse(int64_t query) const { return lse_.get() + query; }
  const float* delta(int64_t query) const { return delta_.get() + query; }
  /// (D, width(q0)), sums of K^T dS^T.
  float* grad(int64_t q0) const { return grad_.get() + q0 * args_.n.dim; }

  /// Sums, laid out as grad(0), to args.grad_q.
  void store_gradient(const float* sums, int64_t batch, int64_t head, const Factors& factors) const {
    const Output& to = args_.grad_q;
    for (int64_t q0 = 0; q0 < args_.n.queries; q0 += kBlock) {
      const int64_t count = std::min(kBlock, args_.n.queries - q0);
      store_columns<T>({sums + q0 * args_.n.dim, width(q0), count, args_.n.dim},
                       row_of<T>(to, batch, head, q0), to.row, factors);
    }
  }

  /// Whether a gradient of the block at q0 is not finite.
  bool is_poisoned(int64_t q0) const { return !poisoned_[q0 / kBlock].empty(); }

  /// Adds to the gradient of the values what g_rows left out of the block at q0: gradients that are not
  /// finite are packed as 0.
  void spread_poison(int64_t q0, const WeightTile& tile, float* grad_v) const {
    const int64_t dim = args_.n.value_dim;
    const auto weight = [&](int64_t r, int64_t c) { return tile.weights[r * tile.columns + c]; };
    const auto given = [&](int64_t c) {
      return rows_of<T>(args_.grad_out, batch_, head_, tile.first + c, 1, dim).data;
    };
    SpoiltPairs spoilt;
    spoilt.find(poisoned_[q0 / kBlock], q0 - tile.first, tile.rows, tile.columns,
                [&](int64_t r, int64_t c) { return weight(r, c) != 0.0f; });
    spoilt.spread(weight, given, dim, grad_v, dim);
  }

 private:
  const BackwardArgs& args_;
  int64_t batch_ = 0, head_ = 0;
  int64_t padded_, dim_, value_dim_;
  Buffer<C> q_columns_, q_rows_, g_columns_, g_rows_;
  Buffer<float> lse_, delta_, grad_;
  std::vector<std::vector<int64_t>> poisoned_;
};

}  // namespace fovea::kernels
