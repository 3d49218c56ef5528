#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <numeric>

#include "fovea/kernels/additive_args.h"
#include "fovea/kernels/cpu/additive_tile.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/gradient_rows.h"
#include "fovea/kernels/cpu/gradient_walk.h"
#include "fovea/kernels/cpu/pack.h"
#include "fovea/kernels/cpu/packed_queries.h"
#include "fovea/kernels/cpu/parallel.h"
#include "fovea/kernels/cpu/tile_product.h"

namespace fovea::kernels {
namespace {

constexpr int64_t kKeyBlock = GradientWalk::kKeyBlock, kMostParts = 16;

// Each head's keys are split into parts, the tasks, by the sizes alone: the order of all sums is then fixed.
struct Parts {
  explicit Parts(const AttendSizes& n)
      : heads(n.batch * n.heads),
        blocks(std::max<int64_t>((n.keys + kKeyBlock - 1) / kKeyBlock, 1)),
        count(std::clamp<int64_t>(kMostParts / std::max<int64_t>(heads, 1), 1, blocks)),
        queries(round_up(n.queries, 16) * n.dim),
        grad_q(count > 1 ? heads * count * queries : 0),
        grad_w(heads * count * n.dim) {}

  int64_t first_key(int64_t part) const { return blocks * part / count * kKeyBlock; }

  int64_t heads, blocks, count, queries;
  Buffer<float> grad_q;   // (head, part, queries as PackedQueries has them); only for several parts
  Buffer<double> grad_w;  // (head, part, dim)
};

// `count` is a multiple of 16; written so that the compiler makes vectors of it.
double sum_of(const float* row, int64_t count) {
  float part[16] = {};
  for (int64_t i = 0; i < count; i += 16) {
    for (int64_t l = 0; l < 16; ++l) part[l] += row[i + l];
  }
  return std::accumulate(part, part + 16, 0.0);
}

// Gradients from one part of the keys of a head.
template <class T>
class PartGradient {
  using Queries = PackedQueries<T, float>;

 public:
  PartGradient(const AdditiveBackwardArgs& args, const Parts& parts)
      : all_(args),
        args_(args.attend),
        parts_(parts),
        kernels_(gradient_kernels(Type::f32)),
        queries_(args_),
        walk_(args_, Queries::block(args_.n.queries)),
        tile_(kKeyBlock, Queries::kBlock, args_.n.dim),
        query_base_(round_up(args_.n.queries, 16)),
        values_(kKeyBlock * args_.n.value_dim),
        grad_v_(kKeyBlock * args_.n.value_dim) {
    std::fill_n(walk_.scores(), walk_.size(), 0.0f);
  }

  void run(int64_t batch, int64_t head, int64_t part) {
    load_queries(batch, head);
    tile_.set_weights(all_.w + head * all_.w_head);
    tile_.clear_dim_sums();
    grad_sum_ = 0.0;
    const int64_t end = std::min(parts_.first_key(part + 1), args_.n.keys);
    for (int64_t k0 = parts_.first_key(part); k0 < end; k0 += kKeyBlock) {
      load_keys(k0);
      for (int64_t q0 = 0; q0 < args_.n.queries; q0 += Queries::kBlock) visit(q0);
      store_keys();
    }
    store_part((batch * args_.n.heads + head) * parts_.count + part);
  }

  // Sums the parts of a head, in their order, where there are several.
  void add_parts(int64_t batch, int64_t head) {
    float* sum = parts_.grad_q.get() + (batch * args_.n.heads + head) * parts_.count * parts_.queries;
    for (int64_t part = 1; part < parts_.count; ++part) {
      const float* other = sum + part * parts_.queries;
      for (int64_t i = 0; i < parts_.queries; ++i) sum[i] += other[i];
    }
    queries_.store_gradient(sum, batch, head, factors(head));
  }

 private:
  // Once for neighbouring parts of one head.
  void load_queries(int64_t batch, int64_t head) {
    if (batch == batch_ && head == head_) return queries_.clear_gradient();
    batch_ = batch;
    head_ = head;
    queries_.load(batch, head);
    for (int64_t q0 = 0; q0 < args_.n.queries; q0 += Queries::kBlock) {
      const int64_t width = queries_.width(q0);
      mark_nan_columns(queries_.q_columns(q0, 0), args_.n.dim, width, width, query_base_.get() + q0);
    }
  }

  void load_keys(int64_t k0) {
    walk_.load(batch_, head_, k0);
    tile_.load(rows_of<T>(args_.k, batch_, head_, k0, walk_.keys(), args_.n.dim));
    tile_.clear_row_sums();
    pack_padded(rows_of<T>(args_.v, batch_, head_, k0, walk_.keys(), args_.n.value_dim), values_.get());
    std::fill(grad_v_.get(), grad_v_.get() + walk_.height() * args_.n.value_dim, 0.0f);
  }

  void visit(int64_t q0) {
    if (!walk_.move(q0, queries_.width(q0))) return;
    weigh(q0);
    differentiate(q0);
  }

  AdditiveColumns query_columns(int64_t q0) const {
    return {queries_.q_columns(q0, walk_.q0() - q0), queries_.width(q0), query_base_.get() + walk_.q0(),
            static_cast<int32_t>(walk_.columns())};
  }

  // P^T of the tile, and what it adds to the gradient of the values.
  void weigh(int64_t q0) {
    const int64_t columns = walk_.columns(), value_dim = args_.n.value_dim;
    tile_.scores(query_columns(q0), walk_.scores(), columns);
    kernels_.weights(walk_.shape(), queries_.lse(walk_.q0()));
    const TileProduct value{walk_.height(), value_dim, columns, columns, value_dim, value_dim};
    value(walk_.scores(), queries_.g_rows(walk_.q0()), grad_v_.get());
    queries_.spread_poison(q0, {walk_.scores(), walk_.q0(), walk_.keys(), columns}, grad_v_.get());
  }

  // dS^T, and what it adds to the other gradients.
  void differentiate(int64_t q0) {
    const int64_t width = queries_.width(q0), value_dim = args_.n.value_dim, columns = walk_.columns();
    const TileProduct weight{walk_.height(), columns, value_dim, value_dim, width, columns, /*add=*/false};
    weight(values_.get(), queries_.g_columns(q0, walk_.q0() - q0), walk_.grad());
    kernels_.scores(walk_.tile(), queries_.delta(walk_.q0()));
    for (int64_t r = 0; r < walk_.keys(); ++r) grad_sum_ += sum_of(walk_.grad() + r * columns, columns);
    tile_.add_gradients(query_columns(q0), walk_.grad(), columns, queries_.grad(q0) + (walk_.q0() - q0),
                        width);
  }

  // 4 w_e of the head takes the sums of AdditiveTile to gradients.
  Factors factors(int64_t head) const { return {.all = 4.0f, .by_dim = all_.w + head * all_.w_head}; }

  void store_keys() const {
    const Output &grad_k = args_.grad_k, &grad_v = args_.grad_v;
    const int64_t k0 = walk_.k0(), count = walk_.keys(), dim = args_.n.dim, value_dim = args_.n.value_dim;
    store_rows({tile_.row_sums(), tile_.row_sums_stride(), count, dim}, row_of<T>(grad_k, batch_, head_, k0),
               grad_k.row, factors(head_));
    store_rows({grad_v_.get(), value_dim, count, value_dim}, row_of<T>(grad_v, batch_, head_, k0), grad_v.row,
               {});
  }

  void store_part(int64_t task) const {
    double* grad_w = parts_.grad_w.get() + task * args_.n.dim;
    for (int64_t d = 0; d < args_.n.dim; ++d) grad_w[d] = grad_sum_ - 2.0 * tile_.dim_sum(d);
    if (parts_.count == 1) return queries_.store_gradient(queries_.grad(0), batch_, head_, factors(head_));
    std::copy_n(queries_.grad(0), parts_.queries, parts_.grad_q.get() + task * parts_.queries);
  }

  const AdditiveBackwardArgs& all_;
  const BackwardArgs& args_;
  const Parts& parts_;
  TileProductScope scope_;
  GradientKernels kernels_;
  Queries queries_;
  GradientWalk walk_;
  AdditiveTile tile_;
  Buffer<float> query_base_, values_, grad_v_;
  double grad_sum_ = 0.0;
  int64_t batch_ = -1, head_ = -1;
};

void add_weight_gradients(const AdditiveBackwardArgs& args, const Parts& parts) {
  const AttendSizes& n = args.attend.n;
  const int64_t weights = args.w_head == 0 ? n.dim : n.heads * n.dim;
  Buffer<double> sums(weights);
  std::fill(sums.get(), sums.get() + weights, 0.0);
  for (int64_t task = 0; task < parts.heads * parts.count; ++task) {
    const int64_t head = task / parts.count % n.heads;
    for (int64_t d = 0; d < n.dim; ++d) sums[head * args.w_head + d] += parts.grad_w[task * n.dim + d];
  }
  for (int64_t i = 0; i < weights; ++i) args.grad_w[i] = static_cast<float>(sums[i]);
}

template <class T>
void backward(const AdditiveBackwardArgs& args) {
  const AttendSizes& n = args.attend.n;
  const Parts parts(n);
  const auto make_worker = [&] { return PartGradient<T>(args, parts); };
  for_each_task(parts.heads * parts.count, make_worker, [&](PartGradient<T>& worker, int64_t task) {
    const int64_t head = task / parts.count;
    worker.run(head / n.heads, head % n.heads, task % parts.count);
  });
  if (parts.count > 1) {
    for_each_task(parts.heads, make_worker, [&](PartGradient<T>& worker, int64_t head) {
      worker.add_parts(head / n.heads, head % n.heads);
    });
  }
  add_weight_gradients(args, parts);
}

}  // namespace

void additive_backward(const AdditiveBackwardArgs& args) {
  with_types(args.attend.type, [&]<class T, class>() { backward<T>(args); });
}

}  // namespace fovea::kernels
