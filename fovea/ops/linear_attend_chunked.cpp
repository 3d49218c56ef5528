#include "fovea/ops/linear_attend_chunked.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "fovea/ops/attend_composed.h"

namespace fovea {
namespace {

// Smaller ones are worse for the products, larger ones compute more pairs that the causal order hides.
constexpr int64_t kChunkPositions = 64;

/// Rows of queries that lie in a chunk, and the keys that some of them see and some may not: those before are
/// seen by all, those after by none.
struct CausalChunk {
  int64_t row = 0, rows = 0, key = 0, keys = 0;
  /// Position p of the chunk sees its keys c <= p + diagonal.
  int64_t diagonal = 0;

  at::Tensor rows_of(const at::Tensor& t) const { return t.narrow(1, row, rows); }
  at::Tensor keys_of(const at::Tensor& t) const { return t.narrow(1, key, keys); }
};

struct CausalChunks {
  int64_t positions, keys, group, shift;

  CausalChunks(const at::Tensor& q, const at::Tensor& k, int64_t group, int64_t shift)
      : positions(q.size(1) / group), keys(k.size(1)), group(group), shift(shift) {}

  int64_t count() const { return (positions + kChunkPositions - 1) / kChunkPositions; }
  CausalChunk at(int64_t i) const {
    const int64_t first = i * kChunkPositions, end = std::min(first + kChunkPositions, positions);
    const int64_t key = first_key(first);
    return {first * group, (end - first) * group, key, first_key(end) - key, first + shift - key};
  }
  /// Keys before it are seen by all positions from `position` on.
  int64_t first_key(int64_t position) const { return std::clamp<int64_t>(position + shift, 0, keys); }

  /// a b^T of rows and keys of a chunk, 0 where a row may not see the key.
  void seen_products(at::Tensor& to, const at::Tensor& a, const at::Tensor& b, int64_t diagonal) const;
};

// Into memory that chunks share.
void multiply(at::Tensor& to, const at::Tensor& a, const at::Tensor& b) {
  to.resize_({a.size(0), a.size(1), b.size(2)});
  at::bmm_out(to, a, b);
}

void CausalChunks::seen_products(at::Tensor& to, const at::Tensor& a, const at::Tensor& b,
                                 int64_t diagonal) const {
  multiply(to, a, b.transpose(1, 2));
  to.view({to.size(0), to.size(1) / group, group, to.size(2)}).transpose(1, 2).tril_(diagonal);
}

at::Tensor transposed(const at::Tensor& t) { return t.transpose(1, 2); }

at::Tensor zero_sums(const at::Tensor& k, const at::Tensor& v) {
  return at::zeros({k.size(0), k.size(2), v.size(2)}, k.options().requires_grad(false));
}

// sum over the keys [begin, end) of k_j v_j^T
void add_keys(at::Tensor& sums, const at::Tensor& k, const at::Tensor& v, int64_t begin, int64_t end) {
  if (begin == end) return;
  sums.baddbmm_(transposed(k.narrow(1, begin, end - begin)), v.narrow(1, begin, end - begin));
}

at::Tensor sums_by_chunks(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const CausalChunks& chunks) {
  at::Tensor out = at::empty({q.size(0), q.size(1), v.size(2)}, q.options().requires_grad(false));
  at::Tensor before = zero_sums(k, v), part = at::empty({0}, before.options()),
             pairs = at::empty({0}, before.options());
  for (int64_t i = 0, absorbed = 0; i < chunks.count(); ++i) {
    const CausalChunk chunk = chunks.at(i);
    add_keys(before, k, v, absorbed, chunk.key);
    absorbed = chunk.key;
    const at::Tensor rows = chunk.rows_of(q);
    multiply(part, rows, before);
    if (chunk.keys > 0) {
      chunks.seen_products(pairs, rows, chunk.keys_of(k), chunk.diagonal);
      part.baddbmm_(pairs, chunk.keys_of(v));
    }
    chunk.rows_of(out).copy_(part);
  }
  return out;
}

struct SumsGradients {
  at::Tensor q, k, v;
};

// All of q, and what k and v get from the pairs of their own chunk.
void add_own_chunks(SumsGradients& to, const SumsGradients& operands, const at::Tensor& grad,
                    const CausalChunks& chunks) {
  const auto& [q, k, v] = operands;
  at::Tensor before = zero_sums(k, v), part = at::empty({0}, before.options()),
             pairs = at::empty({0}, before.options()), slopes = at::empty({0}, before.options());
  for (int64_t i = 0, absorbed = 0; i < chunks.count(); ++i) {
    const CausalChunk chunk = chunks.at(i);
    add_keys(before, k, v, absorbed, chunk.key);
    absorbed = chunk.key;
    const at::Tensor rows = chunk.rows_of(q), given = chunk.rows_of(grad);
    multiply(part, given, transposed(before));
    if (chunk.keys > 0) {
      const at::Tensor keys = chunk.keys_of(k), values = chunk.keys_of(v);
      chunks.seen_products(slopes, given, values, chunk.diagonal);
      part.baddbmm_(slopes, keys);
      chunk.rows_of(to.q).copy_(part);
      multiply(part, transposed(slopes), rows);
      chunk.keys_of(to.k).copy_(part);
      chunks.seen_products(pairs, rows, keys, chunk.diagonal);
      multiply(part, transposed(pairs), given);
      chunk.keys_of(to.v).copy_(part);
    } else {
      chunk.rows_of(to.q).copy_(part);
    }
  }
}

// What k and v get from the queries of later chunks, which see all of a chunk's keys.
void add_later_chunks(SumsGradients& to, const SumsGradients& operands, const at::Tensor& grad,
                      const CausalChunks& chunks) {
  const auto& [q, k, v] = operands;
  at::Tensor later = zero_sums(k, v), part = at::empty({0}, later.options());
  const auto give = [&](int64_t begin, int64_t count) {
    if (count == 0) return;
    multiply(part, v.narrow(1, begin, count), transposed(later));
    to.k.narrow(1, begin, count).add_(part);
    multiply(part, k.narrow(1, begin, count), later);
    to.v.narrow(1, begin, count).add_(part);
  };
  for (int64_t i = chunks.count() - 1; i >= 0; --i) {
    const CausalChunk chunk = chunks.at(i);
    give(chunk.key, chunk.keys);
    later.baddbmm_(transposed(chunk.rows_of(q)), chunk.rows_of(grad));
  }
  give(0, chunks.first_key(0));
}

// Of all pairs.
at::Tensor sums_by_pairs(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         const CausalChunks& chunks) {
  const at::Tensor products = at::bmm(q, transposed(k))
                                  .view({q.size(0), chunks.positions, chunks.group, chunks.keys})
                                  .transpose(1, 2)
                                  .tril(chunks.shift);
  return at::bmm(products.transpose(1, 2).reshape({q.size(0), q.size(1), chunks.keys}), v);
}

class ChunkedCausalSums : public torch::autograd::Function<ChunkedCausalSums> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v, int64_t group, int64_t shift) {
    context->save_for_backward({q, k, v});
    context->saved_data["group"] = group;
    context->saved_data["shift"] = shift;
    return sums_by_chunks(q, k, v, {q, k, group, shift});
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& grads) {
    const auto saved = context->get_saved_variables();
    const SumsGradients operands{saved[0], saved[1], saved[2]};
    const CausalChunks chunks(operands.q, operands.k, context->saved_data["group"].toInt(),
                              context->saved_data["shift"].toInt());
    if (at::GradMode::is_enabled()) {
      const at::Tensor out = sums_by_pairs(operands.q, operands.k, operands.v, chunks);
      auto found = composed_gradients({out, {}, {}}, saved, {grads[0], {}});
      found.resize(5);
      return found;
    }
    const at::Tensor grad = grads[0].contiguous();
    SumsGradients found{at::empty_like(operands.q), at::zeros_like(operands.k), at::zeros_like(operands.v)};
    add_own_chunks(found, operands, grad, chunks);
    add_later_chunks(found, operands, grad, chunks);
    return {found.q, found.k, found.v, {}, {}};
  }
};

}  // namespace

at::Tensor chunked_causal_sums(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t group,
                               int64_t shift) {
  return ChunkedCausalSums::apply(q.contiguous(), k.contiguous(), v.contiguous(), group, shift);
}

}  // namespace fovea
