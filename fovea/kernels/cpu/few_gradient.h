#pragma once
#include <algorithm>
#include <cstdint>

#include "fovea/kernels/attend_args.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/constants.h"
#include "fovea/kernels/cpu/finite_rows.h"
#include "fovea/kernels/cpu/gradient_rows.h"
#include "fovea/kernels/cpu/one_pass.h"
#include "fovea/kernels/cpu/pack.h"
#include "fovea/kernels/cpu/packed_queries.h"
#include "fovea/kernels/cpu/spoilt_pairs.h"
#include "fovea/kernels/cpu/tile_programs.h"
#include "fovea/kernels/cpu/value_sums.h"

namespace fovea::kernels {

/// The most queries, and keys, whose pairs pay as one tile.
inline constexpr int64_t kMostPairs = 256;

/// Whether a call is such as FewGradient takes: all pairs of a head in one tile.
inline bool has_few_pairs(const BackwardArgs& args) {
  const AttendSizes& n = args.n;
  return args.type == Type::f32 && n.heads == n.kv_heads && n.queries >= 1 && n.keys >= 1 &&
         n.keys <= kMostPairs && n.queries <= kMostPairs && n.dim % 16 == 0 && n.value_dim % 16 == 0 &&
         args.scale > 0.0f && args.dropout.threshold == 0 &&
         args.normaliser.kind == Normaliser::Kind::softmax;
}

/// The gradients of one head whose scores lie in the caches: operands are read, and gradients written, where
/// they are. Rows of the tile are keys, columns queries. One a thread.
class FewGradient {
 public:
  explicit FewGradient(const BackwardArgs& args)
      : args_(args),
        kernels_(gradient_kernels(Type::f32)),
        columns_(round_up(args.n.queries, 16)),
        size_(round_up(args.n.keys, 16) * columns_),
        learns_(learns(args.programs)),
        queries_(args.n.dim * columns_),
        grads_(args.n.value_dim * columns_),
        lse_(columns_),
        delta_(columns_),
        scores_(size_),
        by_weight_(size_),
        slopes_(has_slopes(args.programs) ? size_ : 0),
        results_(learns_ ? size_ : 0),
        given_(learns_ ? size_ : 0) {}

  void run(int64_t chunk, int64_t head) {
    const int64_t end = std::min((chunk + 1) * args_.chunk, args_.n.batch);
    for (int64_t batch = chunk * args_.chunk; batch < end; ++batch) {
      load(batch, head);
      weigh(batch, head);
      differentiate();
      learn(args_.programs, transposed_tile(range(batch, head), columns_, given_.get(), results_.get()),
            chunk, head);
      store(batch, head);
    }
  }

 private:
  void load(int64_t batch, int64_t head) {
    const AttendSizes& n = args_.n;
    q_.load(rows_of<float>(args_.q, batch, head, 0, n.queries, n.dim));
    g_.load(rows_of<float>(args_.grad_out, batch, head, 0, n.queries, n.value_dim));
    k_.load(rows_of<float>(args_.k, batch, head, 0, n.keys, n.dim));
    v_ = rows_of<float>(args_.v, batch, head, 0, n.keys, n.value_dim);
    pack_transposed(q_.given(), columns_, queries_.get());
    pack_transposed(g_.given(), columns_, grads_.get());
    load_row_sums(args_, g_.given(), (batch * n.heads + head) * n.queries, columns_, lse_.get(),
                  delta_.get());
    if (args_.grad_sinks) {
      args_.grad_sinks[batch * n.heads + head] = sink_gradient(args_, batch, head, lse_.get(), delta_.get());
    }
  }

  ProductTile tile(float* products) const {
    return {products, columns_, static_cast<int32_t>(args_.n.keys), static_cast<int32_t>(columns_)};
  }

  GradientTile gradient_tile(float factor) const {
    return {.scores = scores_.get(),
            .grad = by_weight_.get(),
            .slopes = has_slopes(args_.programs) ? slopes_.get() : nullptr,
            .results = learns_ ? results_.get() : nullptr,
            .weights_bf16 = nullptr,
            .grad_bf16 = nullptr,
            .grad_pairs = nullptr,
            .stride = columns_,
            .rows = static_cast<int32_t>(args_.n.keys),
            .columns = static_cast<int32_t>(columns_),
            .factor = factor};
  }

  TileRange range(int64_t batch, int64_t head) const {
    return {0, args_.n.queries, 0, args_.n.keys, static_cast<int32_t>(batch), static_cast<int32_t>(head)};
  }

  // P^T.
  void weigh(int64_t batch, int64_t head) {
    const bool scaled = has_scores(args_.programs);
    const Rows<float>& k = k_.given();
    multiply({k.data, queries_.get(), k.dim, k.stride, columns_}, scaled ? args_.scale : 1.0f,
             tile(scores_.get()));
    if (has_slopes(args_.programs)) std::fill_n(slopes_.get(), size_, 1.0f);
    run_programs(args_.programs, &TileProgram::transposed,
                 transposed_tile(range(batch, head), columns_, scores_.get(), slopes_.get()),
                 range(batch, head),
                 /*partial=*/true, learns_ ? given_.get() : nullptr);
    kernels_.weights(gradient_tile(scaled ? kLog2E : args_.scale * kLog2E), lse_.get());
  }

  // dS^T.
  void differentiate() {
    multiply({v_.data, grads_.get(), v_.dim, v_.stride, columns_}, 1.0f, tile(by_weight_.get()));
    kernels_.scores(gradient_tile(1.0f), delta_.get());
  }

  void store(int64_t batch, int64_t head) {
    const auto keys = static_cast<int32_t>(args_.n.keys), queries = static_cast<int32_t>(args_.n.queries);
    const Factors scale{.all = args_.scale};
    float* grad_v = row_of<float>(args_.grad_v, batch, head, 0);
    sum_values({scores_.get(), columns_, g_.finite(), keys, {}}, grad_v, args_.grad_v.row);
    spread_poison(grad_v);
    sum_values({by_weight_.get(), columns_, q_.finite(), keys, scale},
               row_of<float>(args_.grad_k, batch, head, 0), args_.grad_k.row);
    sum_values_by_columns({by_weight_.get(), columns_, k_.finite(), queries, scale},
                          row_of<float>(args_.grad_q, batch, head, 0), args_.grad_q.row);
  }

  void spread_poison(float* grad_v) {
    const auto weight = [&](int64_t r, int64_t c) { return scores_[r * columns_ + c]; };
    spoilt_.find(g_.spoilt(), 0, args_.n.keys, columns_,
                 [&](int64_t r, int64_t c) { return weight(r, c) != 0.0f; });
    spoilt_.spread(
        weight, [&](int64_t c) { return g_.given(c); }, args_.n.value_dim, grad_v, args_.grad_v.row);
  }

  const BackwardArgs& args_;
  GradientKernels kernels_;
  int64_t columns_, size_;
  bool learns_;
  FiniteRows q_, g_, k_;
  Rows<float> v_{};
  SpoiltPairs spoilt_;
  Buffer<float> queries_, grads_;  // transposed
  Buffer<float> lse_, delta_, scores_, by_weight_, slopes_, results_, given_;
};

}  // namespace fovea::kernels
