#include "fovea/ops/call_functors.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "fovea/ops/attend_similarity.h"
#include "fovea/ops/operands.h"
#include "fovea/ops/relative_keys.h"
#include "fovea/ops/table_functors.h"

namespace fovea {
namespace {

template <class M>
std::shared_ptr<const AttendFunctors> hide(M mask) {
  return bind(Identity{}, std::move(mask));
}

at::Tensor distances(const at::Tensor& like, int64_t queries, int64_t keys) {
  return at::arange(1 - queries, std::max(keys, 1 - queries),
                    like.options().dtype(at::kLong).requires_grad(false));
}

// Tables of functors stand on the CPU.
at::Tensor int_values(const at::Tensor& t) { return t.to(at::kCPU, at::kInt).flatten().contiguous(); }

// A slope that learns is a bias by distance, whose gradient the kernel sums in float32, as of all biases;
// otherwise it is a number.
std::shared_ptr<const AttendFunctors> alibi(const at::Tensor& slopes, int64_t queries, int64_t keys,
                                            Tiles tiles) {
  if (!slopes.requires_grad()) {
    const int32_t entry = slopes.dim() == 2 ? static_cast<int32_t>(slopes.size(1)) : 0;
    return bind(Alibi{float_table(slopes.detach().to(at::kCPU, at::kFloat).flatten().contiguous()), entry});
  }
  const at::Tensor by_entry = widened(slopes.dim() == 2 ? slopes : slopes.unsqueeze(0));
  const at::Tensor diagonals = -by_entry.unsqueeze(2) * distances(slopes, queries, keys).abs();
  return std::make_shared<DiagonalBiasFunctors>(diagonals, queries, keys, tiles);
}

std::shared_ptr<const AttendFunctors> relative(const at::Tensor& table, int64_t queries, int64_t keys,
                                               Tiles tiles) {
  const int64_t reach = table.size(1) / 2;
  const at::Tensor entries = distances(table, queries, keys).clamp(-reach, reach) + reach;
  return std::make_shared<DiagonalBiasFunctors>(widened(table).index_select(1, entries).unsqueeze(0), queries,
                                                keys, tiles);
}

std::shared_ptr<const AttendFunctors> dense_bias(const at::Tensor& bias, const at::Tensor& q,
                                                 const at::Tensor& k) {
  return std::make_shared<DenseBiasFunctors>(bias, q, k);
}

// Numbers that lie side by side are added and learned quicker than by their places. A table that many windows
// share is written out once, where that takes no more memory than the queries.
std::shared_ptr<const AttendFunctors> grid(const AttendGrid& given, const at::Tensor& q,
                                           const at::Tensor& k) {
  const auto& [table, height, width] = given;
  const int64_t n = height * width;
  if (n > q.size(0) * q.size(3)) return std::make_shared<GridFunctors>(widened(table), height, width);
  return dense_bias(grid_bias(widened(table), height, width), q, k);
}

void add_similarity(const at::Tensor& q, const at::Tensor& k, const AttendOptions& options,
                    FunctorList& list) {
  if (!std::holds_alternative<Gaussian>(options.similarity)) return;
  const GaussianTerms terms = gaussian_terms(q, k, options);
  if (terms.factors.defined()) list.push_back(std::make_shared<HeadFactorFunctors>(terms.factors));
  list.push_back(dense_bias(terms.keys, q, k));
  if (terms.queries.defined()) list.push_back(dense_bias(terms.queries, q, k));
}

void add_biases(const at::Tensor& q, const at::Tensor& k, const AttendOptions& options, Tiles tiles,
                FunctorList& list) {
  const int64_t n = q.size(2), m = k.size(2);
  if (options.alibi_slopes) list.push_back(alibi(*options.alibi_slopes, n, m, tiles));
  if (options.relative_table) list.push_back(relative(*options.relative_table, n, m, tiles));
  if (options.relative_grid) list.push_back(grid(*options.relative_grid, q, k));
  if (options.relative_keys) {
    const double scale = product_scale(q, options);
    list.push_back(dense_bias(relative_key_scores(q, *options.relative_keys, scale, m), q, k));
  }
  if (options.bias) list.push_back(dense_bias(*options.bias, q, k));
}

}  // namespace

FunctorList call_functors(const at::Tensor& q, const at::Tensor& k, const AttendOptions& options,
                          Tiles tiles) {
  static const auto causal = hide(Causal());
  const int64_t n = q.size(2), m = k.size(2);
  FunctorList list;
  add_similarity(q, k, options, list);
  if (options.softcap) list.push_back(bind(SoftCap{static_cast<float>(*options.softcap)}));
  if (options.functors) list.push_back(options.functors);
  add_biases(q, k, options, tiles, list);
  if (options.causal == CausalAlignment::top_left) list.push_back(causal);
  if (options.causal == CausalAlignment::bottom_right) {
    list.push_back(hide(Causal(static_cast<int32_t>(m - n))));
  }
  if (options.window) list.push_back(hide(window_mask(*options.window)));
  if (options.key_lengths) {
    list.push_back(hide(KeyLengths(int_table(int_values(options.key_lengths->to(at::kLong).clamp(0, m))))));
  }
  if (options.segments) {
    list.push_back(hide(Segments(int_table(int_values(options.segments->query_ids)),
                                 int_table(int_values(options.segments->key_ids)), static_cast<int32_t>(n),
                                 static_cast<int32_t>(m))));
  }
  if (options.blocks) {
    const auto& [mask, size] = *options.blocks;
    list.push_back(std::make_shared<BlockMaskFunctors>(mask, BlockSizes{size, size}, n, m));
  }
  if (options.mask) list.push_back(std::make_shared<DenseMaskFunctors>(*options.mask, n, m));
  return list;
}

bool adds_biases(const AttendOptions& options) {
  return options.bias || options.alibi_slopes || options.relative_table || options.relative_grid ||
         options.relative_keys;
}

bool hides_keys(const AttendOptions& options) {
  return options.window || options.key_lengths || options.segments || options.blocks || options.mask;
}

Window window_mask(const AttendWindow& window) {
  const auto side = [](const std::optional<int64_t>& keys) {
    return static_cast<int32_t>(std::min<int64_t>(keys.value_or(Window::kOpen), Window::kOpen));
  };
  return {side(window.left), side(window.right)};
}

TensorAt positions_of(const at::Tensor& like, at::IntArrayRef scores) {
  const auto up_to = [&](int64_t dim) {
    return at::arange(scores[dim], like.options().dtype(at::kLong).requires_grad(false));
  };
  return {up_to(2).unsqueeze(1), up_to(3).unsqueeze(0), up_to(0).view({-1, 1, 1, 1}),
          up_to(1).view({1, -1, 1, 1})};
}

at::Tensor allowed_pairs(const FunctorList& functors, const TensorAt& at) {
  at::Tensor allowed;
  for (const auto& step : functors) {
    const at::Tensor seen = step->allowed(at);
    if (seen.defined()) allowed = allowed.defined() ? allowed & seen : seen;
  }
  return allowed;
}

}  // namespace fovea
