#pragma once
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "fovea/kernels/attend_args.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/constants.h"
#include "fovea/kernels/cpu/dropout_rows.h"
#include "fovea/kernels/cpu/one_pass_softmax.h"
#include "fovea/kernels/cpu/pack.h"
#include "fovea/kernels/cpu/packed_keys.h"
#include "fovea/kernels/cpu/softmax_rows.h"
#include "fovea/kernels/cpu/spoilt_pairs.h"
#include "fovea/kernels/cpu/tile_product.h"
#include "fovea/kernels/cpu/tile_programs.h"

namespace fovea::kernels {

/// Scores of some queries of a block and of the keys [begin, begin + columns) in the packed block at k0;
/// columns past the last key are -inf. Rows are counted from the block's first query.
struct ScorePart {
  int64_t kv_head, k0, begin, columns, first_row, n_rows;
};

/// What a block of queries does with its scores: the online softmax and the sum of values. T is the operands'
/// type, C that of the products.
template <class T, class C>
class SoftmaxSum {
 public:
  /// For at most `rows` queries (a multiple of 16) and parts of at most `columns` keys.
  SoftmaxSum(const ForwardArgs& args, const PackedKeys<T, C>& packed, int64_t rows, int64_t columns)
      : args_(args),
        packed_(packed),
        softmax_((is_sigmoid() ? sigmoid_kernels : softmax_kernels)(kNarrow ? Type::bf16 : Type::f32)),
        capacity_(rows),
        weights_(std::is_same_v<C, float> ? 0 : rows * columns),
        out_(rows * args.n.value_dim),
        state_(3 * rows),
        kept_(args.dropout.threshold ? rows * columns / 16 : 0) {}

  /// Begins a block of a head. A sink is the first score that a row sees; the weights of a sigmoid are taken
  /// as they are.
  void clear(int64_t head) {
    const float first = is_sigmoid() ? -args_.normaliser.bias * kLog2E : sink_score(args_.normaliser, head);
    begin_rows({maximum(), sum(), rescale()}, capacity_, first);
    std::fill(out_.get(), out_.get() + capacity_ * args_.n.value_dim, 0.0f);
    one_pass_ = !is_sigmoid() && has_one_pass<C>(args_.n.dim);
  }

  /// Weighs the values of one part. `tile` is the part, as functors see it, with room for whole vectors of 16
  /// rows; factor > 0 takes its scores, which are overwritten, to units of log2.
  void add(const ScorePart& part, const ScoreTile& tile, float factor) {
    scores_ = tile.scores;
    find_poison(part, [&](int64_t r, int64_t c) { return scores_[r * part.columns + c] != -kInfinity; });
    weigh(part, factor);
    weigh_values(part, tile);
    spread_poison(part);
  }

  /// The same of a part whose scores are products that nothing hides, which need not be made before. False:
  /// cannot, and nothing has changed.
  bool add(const ScorePart& part, const ScoreTile& tile, const ScoreProducts<C>& products) {
    if (!one_pass_) return false;
    scores_ = tile.scores;
    const auto height = product_rows<C>(part.n_rows, args_.n.queries),
               inside = std::min(part.columns, args_.n.keys - part.begin);
    const WeightBlock<C> to{weights(), part.columns, static_cast<int32_t>(height),
                            static_cast<int32_t>(part.columns), static_cast<int32_t>(inside)};
    one_pass_ = softmax_in_one_pass(products, to, state(part));
    if (!one_pass_) return false;
    find_poison(part, [](int64_t, int64_t) { return true; });
    weigh_values(part, tile);
    spread_poison(part);
    return true;
  }

  /// The results of `rows` queries from q0 on; 0 for one that saw neither key nor sink. Called once.
  void store(int64_t batch, int64_t head, int64_t q0, int64_t rows) const {
    const int64_t value_dim = args_.n.value_dim,
                  first = (batch * args_.n.heads + head) * args_.n.queries + q0;
    float* inverse = rescale();  // which nothing reads any more
    for (int64_t r = 0; r < rows; ++r) {
      inverse[r] = sum()[r] == 0.0f ? 0.0f : args_.dropout.scale / sum()[r];
      if (args_.lse) args_.lse[first + r] = natural_lse(maximum()[r], sum()[r]);
    }
    const Rows<float> sums{out_.get(), value_dim, rows, value_dim};
    const Factors factors{.by_row = inverse};
    const Output& out = args_.out;
    store_rows(sums, row_of<T>(out, batch, head, q0), out.row, factors);
    if (args_.unrounded) store_rows(sums, args_.unrounded + first * value_dim, value_dim, factors);
  }

 private:
  static constexpr bool kNarrow = !std::is_same_v<C, float>;

  bool is_sigmoid() const { return args_.normaliser.kind == Normaliser::Kind::sigmoid; }

  C* weights() const {
    if constexpr (std::is_same_v<C, float>) {
      return scores_;
    } else {
      return weights_.get();
    }
  }

  void weigh(const ScorePart& part, float factor) {
    const auto rows = static_cast<int32_t>(part.n_rows), columns = static_cast<int32_t>(part.columns);
    softmax_.rows({scores_, weights_.get(), part.columns, rows, columns, factor}, state(part));
    const int64_t value_dim = args_.n.value_dim;
    softmax_.rescale(out_.get() + part.first_row * value_dim, value_dim, rows,
                     static_cast<int32_t>(value_dim), state(part).rescale);
  }

  // Adds weights times values, with some weights dropped, to the results.
  void weigh_values(const ScorePart& part, const ScoreTile& tile) {
    if (args_.dropout.threshold) drop(tile);
    const int64_t value_dim = args_.n.value_dim,
                  keys = product_terms<C>(args_.n.keys - part.begin, args_.n.keys);
    const TileProduct value{product_rows<C>(part.n_rows, args_.n.queries),
                            value_dim,
                            std::min(part.columns, keys),
                            part.columns,
                            value_dim,
                            value_dim};
    value(weights(), packed_.values(part.kv_head, part.begin), out_.get() + part.first_row * value_dim);
  }

  void drop(const ScoreTile& tile) {
    const DropoutKernels kernels = dropout_kernels();
    kernels.plain(args_.dropout, tile, kept_.get());
    if constexpr (std::is_same_v<C, float>) {
      kernels.apply(scores_, scores_, kept_.get(), tile.rows * tile.stride, 1.0f);
    } else {
      kernels.apply_narrow(weights_.get(), kept_.get(), tile.rows * tile.stride);
    }
  }

  template <class Sees>
  void find_poison(const ScorePart& part, const Sees& sees) {
    spoilt_.find(packed_.poisoned(part.kv_head, part.k0), part.k0 - part.begin, part.n_rows, part.columns,
                 sees);
  }

  // Adds what the packed values left out.
  void spread_poison(const ScorePart& part) {
    spoilt_.spread([&](int64_t r, int64_t c) { return static_cast<float>(weights()[r * part.columns + c]); },
                   [&](int64_t c) { return packed_.given_values(part.kv_head, part.begin + c); },
                   args_.n.value_dim, out_.get() + part.first_row * args_.n.value_dim, args_.n.value_dim);
  }

  SoftmaxState state(const ScorePart& part) const {
    return {maximum() + part.first_row, sum() + part.first_row, rescale() + part.first_row};
  }

  float* maximum() const { return state_.get(); }
  float* sum() const { return state_.get() + capacity_; }
  float* rescale() const { return state_.get() + 2 * capacity_; }

  const ForwardArgs& args_;
  const PackedKeys<T, C>& packed_;
  SoftmaxKernels softmax_;
  int64_t capacity_;
  float* scores_ = nullptr;
  Buffer<C> weights_;
  Buffer<float> out_, state_;
  Buffer<uint16_t> kept_;
  SpoiltPairs spoilt_;
  bool one_pass_ = false;  // no longer than the scores of a block let it
};

}  // namespace fovea::kernels
