#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <type_traits>

#include "fovea/core/ceil_div.h"
#include "fovea/core/isa.h"
#include "fovea/kernels/attend_args.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/constants.h"
#include "fovea/kernels/cpu/dropout_rows.h"
#include "fovea/kernels/cpu/few_gradient.h"
#include "fovea/kernels/cpu/gradient_rows.h"
#include "fovea/kernels/cpu/gradient_walk.h"
#include "fovea/kernels/cpu/one_pass_gradient.h"
#include "fovea/kernels/cpu/pack.h"
#include "fovea/kernels/cpu/packed_queries.h"
#include "fovea/kernels/cpu/parallel.h"
#include "fovea/kernels/cpu/tile_product.h"
#include "fovea/kernels/cpu/tile_programs.h"

namespace fovea::kernels {
namespace {

// Keys of a block: under a mask few, most of which most queries of a tile see. Not beside tile registers,
// where that is not measured.
template <class C>
int64_t key_block(TilePrograms programs) {
  const bool whole = !std::is_same_v<C, float> && active_isa() >= Isa::amx;
  return hides(programs) && !whole ? 64 : GradientWalk::kKeyBlock;
}

// The gradients of one key head and of the query heads that share it.
template <class T, class C>
class HeadGradient {
  using Queries = PackedQueries<T, C>;

 public:
  explicit HeadGradient(const BackwardArgs& args)
      : args_(args),
        group_(args.n.heads / args.n.kv_heads),
        kernels_(kernels_of(args.normaliser.kind)),
        key_block_(key_block<C>(args.programs)),
        walk_(args, Queries::block(args.n.queries), key_block_),
        keys_(key_block_ * round_up(args.n.dim, kPair<C>)),
        keys_transposed_(key_block_ * args.n.dim),
        values_(key_block_ * round_up(args.n.value_dim, kPair<C>)),
        grad_k_(key_block_ * args.n.dim),
        grad_v_(key_block_ * args.n.value_dim),
        one_pass_(args.normaliser.kind == Normaliser::Kind::softmax && !has_scores(args.programs) &&
                  args.scale > 0.0f && !args.dropout.threshold && has_one_pass<C>(args.n.dim) &&
                  has_one_pass<C>(args.n.value_dim)),
        learns_(learns(args.programs)),
        results_(learns_ ? walk_.size() : 0),
        given_(learns_ ? walk_.size() : 0),
        kept_(drops() ? walk_.size() / 16 : 0),
        dropped_(drops() && !kNarrow ? walk_.size() : 0),
        weights_c_(kNarrow ? walk_.size() : 0),
        grad_c_(kNarrow ? walk_.size() : 0),
        grad_pairs_(kNarrow ? walk_.size() : 0) {
    for (int64_t g = 0; g < group_; ++g) queries_.emplace_back(args);
  }

  void run(int64_t chunk, int64_t kv_head) {
    chunk_ = chunk;
    const int64_t end = std::min((chunk + 1) * args_.chunk, args_.n.batch);
    for (int64_t batch = chunk * args_.chunk; batch < end; ++batch) run_entry(batch, kv_head);
  }

 private:
  static constexpr bool kNarrow = !std::is_same_v<C, float>;

  // Of the tile, where rows stand for keys and columns for queries.
  int64_t height() const { return product_rows<C>(walk_.keys(), args_.n.keys); }
  int64_t key_terms() const { return std::min(walk_.height(), product_terms<C>(walk_.keys(), args_.n.keys)); }
  int64_t query_terms() const {
    return std::min(walk_.columns(), product_terms<C>(walk_.queries(), args_.n.queries));
  }

  static GradientKernels kernels_of(Normaliser::Kind kind) {
    const Type type = kNarrow ? Type::bf16 : Type::f32;
    return kind == Normaliser::Kind::sigmoid ? sigmoid_gradient_kernels(type) : gradient_kernels(type);
  }

  void run_entry(int64_t batch, int64_t kv_head) {
    const Factors scale{.all = args_.scale}, undropped{.all = args_.dropout.scale};
    for (int64_t g = 0; g < group_; ++g) queries_[g].load(batch, kv_head * group_ + g);
    for (int64_t k0 = 0; k0 < args_.n.keys; k0 += key_block_) {
      load_keys(batch, kv_head, k0);
      for (int64_t g = 0; g < group_; ++g) {
        walk_.load(batch, kv_head * group_ + g, k0);
        for (int64_t q0 = 0; q0 < args_.n.queries; q0 += Queries::kBlock) visit(queries_[g], q0);
      }
      store(args_.grad_k, batch, kv_head, {grad_k_.get(), args_.n.dim, walk_.keys(), args_.n.dim}, scale);
      store(args_.grad_v, batch, kv_head, {grad_v_.get(), args_.n.value_dim, walk_.keys(), args_.n.value_dim},
            undropped);
    }
    for (int64_t g = 0; g < group_; ++g) {
      queries_[g].store_gradient(queries_[g].grad(0), batch, kv_head * group_ + g, scale);
    }
  }

  // A operands, padded with rows of 0 to a multiple of 16.
  void load_keys(int64_t batch, int64_t kv_head, int64_t k0) {
    const int64_t count = std::min(key_block_, args_.n.keys - k0), height = round_up(count, 16);
    pack_padded(rows_of<T>(args_.k, batch, kv_head, k0, count, args_.n.dim), keys_.get());
    pack_padded(rows_of<T>(args_.v, batch, kv_head, k0, count, args_.n.value_dim), values_.get());
    turn_packed(keys_.get(), height, args_.n.dim, keys_transposed_.get());
    std::fill(grad_k_.get(), grad_k_.get() + height * args_.n.dim, 0.0f);
    std::fill(grad_v_.get(), grad_v_.get() + height * args_.n.value_dim, 0.0f);
  }

  void visit(const Queries& queries, int64_t q0) {
    if (!walk_.move(q0, queries.width(q0))) return;
    const bool done = differentiate_in_one_pass(queries, q0);
    if (!done) weigh(queries, q0);
    add_to_values(queries, q0);
    if (!done) differentiate(queries, q0);
    add_to_queries_and_keys(queries, q0);
  }

  ProductOperands<C> score_operands(const Queries& queries, int64_t q0) const {
    return {keys_.get(), queries.q_columns(q0, walk_.q0() - q0), queries.dim(), queries.dim(),
            queries.width(q0)};
  }
  ProductOperands<C> grad_operands(const Queries& queries, int64_t q0) const {
    return {values_.get(), queries.g_columns(q0, walk_.q0() - q0), queries.value_dim(), queries.value_dim(),
            queries.width(q0)};
  }
  ProductTile product_tile(float* products) const {
    const auto rows = static_cast<int32_t>(height()), columns = static_cast<int32_t>(walk_.columns());
    return {products, columns, rows, columns};
  }

  // P^T and dS^T at once, where scores are products but for a factor > 0, which nothing hides or drops.
  bool differentiate_in_one_pass(const Queries& queries, int64_t q0) {
    if (!one_pass_ || !walk_.whole() || queries.is_poisoned(q0)) return false;
    const GradientProducts<C> products{score_operands(queries, q0), grad_operands(queries, q0),
                                       args_.scale * kLog2E, queries.lse(walk_.q0()),
                                       queries.delta(walk_.q0())};
    GradientBlock<C> block{.weights = weights(),
                           .grad = nullptr,
                           .grad_pairs = grad_pairs_.get(),
                           .stride = walk_.columns(),
                           .rows = static_cast<int32_t>(height()),
                           .columns = static_cast<int32_t>(walk_.columns()),
                           .inside = static_cast<int32_t>(walk_.keys())};
    if constexpr (kNarrow) {
      block.grad = grad_c_.get();
    } else {
      block.grad = walk_.grad();
    }
    gradient_in_one_pass(products, block);
    return true;
  }

  // P^T of the tile.
  void weigh(const Queries& queries, int64_t q0) {
    multiply(score_operands(queries, q0), product_tile(walk_.scores()));
    GradientTile tile = walk_.shape(learns_ ? given_.get() : nullptr);
    tile.weights_bf16 = weights_c_.get();
    kernels_.weights(tile, queries.lse(walk_.q0()));
    if (drops()) drop();
    zero_padding(walk_.scores());
    if constexpr (kNarrow) zero_padding(weights_c_.get());
  }

  void add_to_values(const Queries& queries, int64_t q0) {
    const int64_t columns = walk_.columns(), value_dim = args_.n.value_dim;
    const TileProduct value{height(), value_dim, query_terms(), columns, value_dim, value_dim};
    value(weights(), queries.g_rows(walk_.q0()), grad_v_.get());
    queries.spread_poison(q0, {walk_.scores(), walk_.q0(), walk_.keys(), columns}, grad_v_.get());
  }

  // dS^T of the tile, of its weights.
  void differentiate(const Queries& queries, int64_t q0) {
    multiply(grad_operands(queries, q0), product_tile(walk_.grad()));
    if (drops()) {
      dropout_kernels().apply(walk_.grad(), walk_.grad(), kept_.get(), walk_.keys() * walk_.columns(),
                              args_.dropout.scale);
    }
    kernels_.scores(gradient_tile(), queries.delta(walk_.q0()));
    learn(args_.programs, walk_.functor_tile(given_.get(), results_.get()), chunk_, walk_.head());
  }

  void add_to_queries_and_keys(const Queries& queries, int64_t q0) {
    const int64_t width = queries.width(q0), dim = args_.n.dim, columns = walk_.columns();
    const TileProduct key{height(), dim, query_terms(), columns, dim, dim};
    const TileProduct query{dim, columns, key_terms(), walk_.height(), columns, width};
    float* grad_q = queries.grad(q0) + (walk_.q0() - q0);
    if constexpr (kNarrow) {
      key(grad_c_.get(), queries.q_rows(walk_.q0()), grad_k_.get());
      query(keys_transposed_.get(), grad_pairs_.get(), grad_q);
    } else {
      key(walk_.grad(), queries.q_rows(walk_.q0()), grad_k_.get());
      query(keys_transposed_.get(), walk_.grad(), grad_q);
    }
  }

  GradientTile gradient_tile() const {
    GradientTile tile = walk_.tile();
    tile.results = learns_ ? results_.get() : nullptr;
    tile.grad_bf16 = grad_c_.get();
    tile.grad_pairs = grad_pairs_.get();
    tile.rows = static_cast<int32_t>(height());
    return tile;
  }

  bool drops() const { return args_.dropout.threshold != 0; }

  // From the weights that the values' product reads; those in the walk's scores stay.
  void drop() {
    const DropoutKernels kernels = dropout_kernels();
    const int64_t count = walk_.keys() * walk_.columns();
    kernels.transposed(args_.dropout, walk_.functor_tile(nullptr, nullptr), kept_.get());
    if constexpr (kNarrow) {
      kernels.apply_narrow(weights_c_.get(), kept_.get(), count);
    } else {
      kernels.apply(walk_.scores(), dropped_.get(), kept_.get(), count, 1.0f);
      zero_padding(dropped_.get());
    }
  }

  C* weights() const {
    if constexpr (kNarrow) {
      return weights_c_.get();
    } else {
      return drops() ? dropped_.get() : walk_.scores();
    }
  }

  template <class Number>
  void zero_padding(Number* rows) const {
    std::fill(rows + walk_.keys() * walk_.columns(), rows + height() * walk_.columns(), Number(0));
  }

  void store(const Output& to, int64_t batch, int64_t kv_head, const Rows<float>& rows,
             const Factors& factors) const {
    store_rows(rows, row_of<T>(to, batch, kv_head, walk_.k0()), to.row, factors);
  }

  const BackwardArgs& args_;
  TileProductScope scope_;
  int64_t group_;
  GradientKernels kernels_;
  int64_t key_block_;
  GradientWalk walk_;
  std::vector<Queries> queries_;
  Buffer<C> keys_, keys_transposed_, values_;
  Buffer<float> grad_k_, grad_v_;
  bool one_pass_, learns_;
  Buffer<float> results_, given_;
  Buffer<uint16_t> kept_;
  Buffer<float> dropped_;
  Buffer<C> weights_c_, grad_c_, grad_pairs_;
  int64_t chunk_ = 0;
};

template <class Gradient>
void by_heads(const BackwardArgs& args) {
  const int64_t chunks = ceil_div(args.n.batch, args.chunk);
  for_each_task(
      chunks * args.n.kv_heads, [&] { return Gradient(args); },
      [&](Gradient& head, int64_t task) { head.run(task / args.n.kv_heads, task % args.n.kv_heads); });
}

}  // namespace

void attend_backward(const BackwardArgs& args) {
  if (has_few_pairs(args)) return by_heads<FewGradient>(args);
  with_types(args.type, [&]<class T, class C>() { by_heads<HeadGradient<T, C>>(args); });
}

}  // namespace fovea::kernels
