#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <type_traits>

#include "fovea/kernels/attend_args.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/dropout_rows.h"
#include "fovea/kernels/cpu/gradient_rows.h"
#include "fovea/kernels/cpu/pack.h"
#include "fovea/kernels/cpu/packed_queries.h"
#include "fovea/kernels/cpu/parallel.h"
#include "fovea/kernels/cpu/tile_product.h"
#include "fovea/kernels/cpu/tile_programs.h"

namespace fovea::kernels {
namespace {

constexpr int64_t kKeyBlock = 128;

// The gradients of one key head and of the query heads that share it.
template <class T, class C>
class HeadGradient {
  using Queries = PackedQueries<T, C>;

 public:
  explicit HeadGradient(const BackwardArgs& args)
      : args_(args),
        group_(args.n.heads / args.n.kv_heads),
        kernels_(kernels_of(args.normaliser.kind)),
        keys_(kKeyBlock * round_up(args.n.dim, kPair<C>)),
        keys_transposed_(kKeyBlock * args.n.dim),
        values_(kKeyBlock * round_up(args.n.value_dim, kPair<C>)),
        grad_k_(kKeyBlock * args.n.dim),
        grad_v_(kKeyBlock * args.n.value_dim),
        scores_(kTile),
        grad_(kTile),
        has_slopes_(has_slopes(args.programs)),
        learns_(learns(args.programs)),
        slopes_(has_slopes_ ? kTile : 0),
        results_(learns_ ? kTile : 0),
        given_(learns_ ? kTile : 0),
        kept_(drops() ? kTile / 16 : 0),
        dropped_(drops() && !kNarrow ? kTile : 0),
        weights_c_(kNarrow ? kTile : 0),
        grad_c_(kNarrow ? kTile : 0),
        grad_pairs_(kNarrow ? kTile : 0) {
    for (int64_t g = 0; g < group_; ++g) queries_.emplace_back(args);
  }

  void run(int64_t chunk, int64_t kv_head) {
    chunk_ = chunk;
    const int64_t end = std::min((chunk + 1) * args_.chunk, args_.n.batch);
    for (int64_t batch = chunk * args_.chunk; batch < end; ++batch) run_entry(batch, kv_head);
  }

 private:
  static constexpr bool kNarrow = !std::is_same_v<C, float>;
  static constexpr int64_t kTile = kKeyBlock * Queries::kBlock;

  static GradientKernels kernels_of(Normaliser::Kind kind) {
    const Type type = kNarrow ? Type::bf16 : Type::f32;
    return kind == Normaliser::Kind::sigmoid ? sigmoid_gradient_kernels(type) : gradient_kernels(type);
  }

  void run_entry(int64_t batch, int64_t kv_head) {
    batch_ = batch;
    for (int64_t g = 0; g < group_; ++g) queries_[g].load(batch, kv_head * group_ + g);
    for (int64_t k0 = 0; k0 < args_.n.keys; k0 += kKeyBlock) {
      load_keys(kv_head, k0);
      for (int64_t g = 0; g < group_; ++g) {
        head_ = kv_head * group_ + g;
        for (int64_t q0 = 0; q0 < args_.n.queries; q0 += Queries::kBlock) visit(queries_[g], q0);
      }
      store_rows(args_.grad_k, kv_head, grad_k_.get(), args_.n.dim, args_.scale);
      store_rows(args_.grad_v, kv_head, grad_v_.get(), args_.n.value_dim, args_.dropout.scale);
    }
    for (int64_t g = 0; g < group_; ++g) store_queries(queries_[g], kv_head * group_ + g);
  }

  // A operands, padded with rows of 0 to a multiple of 16.
  void load_keys(int64_t kv_head, int64_t k0) {
    k0_ = k0;
    count_ = std::min(kKeyBlock, args_.n.keys - k0);
    height_ = round_up(count_, 16);
    pack_padded(rows_of<T>(args_.k, batch_, kv_head, k0, count_, args_.n.dim), keys_.get());
    pack_padded(rows_of<T>(args_.v, batch_, kv_head, k0, count_, args_.n.value_dim), values_.get());
    const int64_t dim = queries_.front().dim();
    for (int64_t d = 0; d < args_.n.dim; ++d) {
      for (int64_t r = 0; r < height_; ++r) {
        const C key = keys_[r * dim + d];
        keys_transposed_[d * height_ + r] = is_finite(key) ? key : C(0);
      }
    }
    std::fill(grad_k_.get(), grad_k_.get() + height_ * args_.n.dim, 0.0f);
    std::fill(grad_v_.get(), grad_v_.get() + height_ * args_.n.value_dim, 0.0f);
  }

  TileRange range(int64_t q0, int64_t q1) const {
    return {q0, q1, k0_, k0_ + count_, static_cast<int32_t>(batch_), static_cast<int32_t>(head_)};
  }

  void visit(const Queries& queries, int64_t q0) {
    TileRange seen = range(q0, std::min(q0 + Queries::kBlock, args_.n.queries));
    const Cover covered = cover(args_.programs, seen);
    if (covered == Cover::skip) return;
    if (covered == Cover::partial) seen = seen_queries(args_.programs, seen);
    if (seen.q0 == seen.q1) return;
    q0_ = seen.q0;
    columns_ = std::min(round_up(seen.q1 - q0_, 16), queries.width(q0) - (q0_ - q0));
    weigh(queries, q0, seen, covered == Cover::partial);
    differentiate(queries, q0);
  }

  // P^T of the tile, and what it adds to the gradient of the values.
  void weigh(const Queries& queries, int64_t q0, const TileRange& seen, bool partial) {
    const int64_t width = queries.width(q0), dim = queries.dim(), value_dim = args_.n.value_dim;
    const TileProduct score{height_, columns_, dim, dim, width, columns_, /*add=*/false};
    score(keys_.get(), queries.q_columns(q0, q0_ - q0), scores_.get());
    kernels_.weights(shape(seen, partial), queries.lse(q0_));
    if (drops()) drop();
    zero_padding(scores_.get());
    if constexpr (kNarrow) zero_padding(weights_c_.get());
    const TileProduct value{height_, value_dim, columns_, columns_, value_dim, value_dim};
    value(weights(), queries.g_rows(q0_), grad_v_.get());
    queries.spread_poison(q0, {scores_.get(), q0_, count_, columns_}, grad_v_.get());
  }

  void differentiate(const Queries& queries, int64_t q0) {
    const int64_t width = queries.width(q0), dim = args_.n.dim, value_dim = queries.value_dim();
    const TileProduct weight{height_, columns_, value_dim, value_dim, width, columns_, /*add=*/false};
    weight(values_.get(), queries.g_columns(q0, q0_ - q0), grad_.get());
    if (drops()) {
      dropout_kernels().apply(grad_.get(), grad_.get(), kept_.get(), count_ * columns_, args_.dropout.scale);
    }
    GradientTile tile = this->tile();
    tile.rows = static_cast<int32_t>(height_);
    kernels_.scores(tile, queries.delta(q0_));
    if (learns_) learn();
    const TileProduct key{height_, dim, columns_, columns_, dim, dim};
    const TileProduct query{dim, columns_, height_, height_, columns_, width};
    float* grad_q = queries.grad(q0) + (q0_ - q0);
    if constexpr (kNarrow) {
      key(grad_c_.get(), queries.q_rows(q0_), grad_k_.get());
      query(keys_transposed_.get(), grad_pairs_.get(), grad_q);
    } else {
      key(grad_.get(), queries.q_rows(q0_), grad_k_.get());
      query(keys_transposed_.get(), grad_.get(), grad_q);
    }
  }

  void learn() const {
    const ScoreTile results = score_tile(given_.get(), results_.get());
    for (const auto& program : args_.programs) {
      if (!program.sums.data) continue;
      program.learn(program.functors, results,
                    program.sums.data + chunk_ * program.sums.chunk + head_ * program.sums.head);
    }
  }

  bool drops() const { return args_.dropout.threshold != 0; }

  // From the weights that the values' product reads; those in scores_ stay.
  void drop() {
    const DropoutKernels kernels = dropout_kernels();
    kernels.transposed(args_.dropout, score_tile(nullptr, nullptr), kept_.get());
    if constexpr (kNarrow) {
      kernels.apply_narrow(weights_c_.get(), kept_.get(), count_ * columns_);
    } else {
      kernels.apply(scores_.get(), dropped_.get(), kept_.get(), count_ * columns_, 1.0f);
      zero_padding(dropped_.get());
    }
  }

  const C* weights() const {
    if constexpr (kNarrow) {
      return weights_c_.get();
    } else {
      return drops() ? dropped_.get() : scores_.get();
    }
  }

  template <class Number>
  void zero_padding(Number* rows) const {
    std::fill(rows + count_ * columns_, rows + height_ * columns_, Number(0));
  }

  GradientTile tile() const {
    return {scores_.get(),
            grad_.get(),
            has_slopes_ ? slopes_.get() : nullptr,
            learns_ ? results_.get() : nullptr,
            weights_c_.get(),
            grad_c_.get(),
            grad_pairs_.get(),
            columns_,
            static_cast<int32_t>(count_),
            static_cast<int32_t>(columns_),
            kLog2E};
  }

  ScoreTile score_tile(float* scores, float* slopes) const {
    return {scores,
            slopes,
            columns_,
            static_cast<int32_t>(q0_),
            static_cast<int32_t>(k0_),
            static_cast<int32_t>(count_),
            static_cast<int32_t>(columns_),
            static_cast<int32_t>(batch_),
            static_cast<int32_t>(head_)};
  }

  GradientTile shape(const TileRange& seen, bool partial) const {
    if (has_slopes_) {
      std::fill(slopes_.get(), slopes_.get() + count_ * columns_, 1.0f);
      std::fill(slopes_.get() + count_ * columns_, slopes_.get() + height_ * columns_, 0.0f);
    }
    GradientTile shaped = tile();
    shaped.factor =
        shape_scores(args_.programs, &TileProgram::transposed, score_tile(scores_.get(), slopes_.get()), seen,
                     partial, args_.scale, learns_ ? given_.get() : nullptr);
    return shaped;
  }

  void store_rows(const Output& to, int64_t kv_head, const float* from, int64_t dim, float factor) const {
    T* out = static_cast<T*>(to.data) + batch_ * to.batch + kv_head * to.head + k0_ * to.row;
    for (int64_t r = 0; r < count_; ++r) {
      for (int64_t d = 0; d < dim; ++d) out[r * to.row + d] = rounded<T>(from[r * dim + d] * factor);
    }
  }

  void store_queries(const Queries& queries, int64_t head) const {
    const Output& to = args_.grad_q;
    for (int64_t q = 0; q < args_.n.queries; ++q) {
      const int64_t q0 = q / Queries::kBlock * Queries::kBlock, width = queries.width(q0);
      const float* from = queries.grad(q0) + (q - q0);
      T* out = static_cast<T*>(to.data) + batch_ * to.batch + head * to.head + q * to.row;
      for (int64_t d = 0; d < args_.n.dim; ++d) out[d] = rounded<T>(from[d * width] * args_.scale);
    }
  }

  const BackwardArgs& args_;
  TileProductScope scope_;
  int64_t group_;
  GradientKernels kernels_;
  std::vector<Queries> queries_;
  Buffer<C> keys_, keys_transposed_, values_;
  Buffer<float> grad_k_, grad_v_, scores_, grad_;
  bool has_slopes_, learns_;
  Buffer<float> slopes_, results_, given_;
  Buffer<uint16_t> kept_;
  Buffer<float> dropped_;
  Buffer<C> weights_c_, grad_c_, grad_pairs_;
  int64_t chunk_ = 0, batch_ = 0, head_ = 0, k0_ = 0, count_ = 0, height_ = 0, q0_ = 0, columns_ = 0;
};

template <class T, class C>
void backward(const BackwardArgs& args) {
  const int64_t chunks = (args.n.batch + args.chunk - 1) / args.chunk;
  for_each_task(
      chunks * args.n.kv_heads, [&] { return HeadGradient<T, C>(args); },
      [&](HeadGradient<T, C>& head, int64_t task) {
        head.run(task / args.n.kv_heads, task % args.n.kv_heads);
      });
}

}  // namespace

void attend_backward(const BackwardArgs& args) {
  with_types(args.type, [&]<class T, class C>() { backward<T, C>(args); });
}

}  // namespace fovea::kernels
