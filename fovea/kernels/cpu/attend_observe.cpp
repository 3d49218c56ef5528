#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "fovea/core/ceil_div.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/constants.h"
#include "fovea/kernels/cpu/observe_rows.h"
#include "fovea/kernels/cpu/packed_keys.h"
#include "fovea/kernels/cpu/parallel.h"
#include "fovea/kernels/cpu/score_walk.h"
#include "fovea/kernels/cpu/tile_product.h"
#include "fovea/kernels/cpu/tile_programs.h"
#include "fovea/kernels/observe_args.h"

namespace fovea::kernels {
namespace {

// Queries whose weights are wanted, rising, and their places in the result.
using ChosenRows = std::vector<std::pair<int64_t, int64_t>>;

ChosenRows chosen_rows(const RowArgs& args) {
  ChosenRows rows;
  for (size_t i = 0; i < args.rows.size(); ++i) rows.emplace_back(args.rows[i], static_cast<int64_t>(i));
  std::sort(rows.begin(), rows.end());
  return rows;
}

// One head at a time: what its keys receive is summed by one thread, in the order of the queries.
template <class T, class C>
class HeadObserver {
 public:
  HeadObserver(const ObserveArgs& args, const PackedKeys<T, C>& packed, const ChosenRows& chosen)
      : args_(args),
        chosen_(chosen),
        walk_({args.n, args.q, args.scale, args.programs}, packed),
        kernels_(observe_kernels()),
        kept_(std::max<int64_t>(args.top.count, args.argmax ? 1 : 0)),
        lse_(walk_.capacity()),
        entropy_(walk_.capacity()),
        distance_(walk_.capacity()),
        top_weights_(walk_.capacity() * kept_),
        top_keys_(walk_.capacity() * kept_),
        column_sums_(PackedKeys<T, C>::kBlock),
        received_(args.received ? args.n.keys : 0) {}

  void run(int64_t batch, int64_t head) {
    head_ = batch * args_.n.heads + head;
    if (args_.received) std::fill_n(received_.get(), args_.n.keys, 0.0);
    for (int64_t q0 = 0; q0 < args_.n.queries; q0 += query_block(args_.programs)) {
      if (!wants(q0)) continue;
      walk_.load(batch, head, q0);
      start();
      walk_.for_each_run([this](int64_t k0, const Run& run) { visit(run, walk_.multiply(k0, run)); });
      store_rows();
    }
    if (args_.received) std::copy_n(received_.get(), args_.n.keys, args_.received + head_ * args_.n.keys);
    if (args_.blocks.means) average_blocks();
  }

 private:
  bool wants(int64_t q0) const {
    if (args_.entropy || args_.distance || kept_ || args_.received || args_.blocks.means) return true;
    const auto next = std::lower_bound(chosen_.begin(), chosen_.end(), std::pair{q0, int64_t{0}});
    return next != chosen_.end() && next->first < q0 + query_block(args_.programs);
  }

  // In units of log2; +inf for a query that sees no key, NaN for one that sees NaN or +inf.
  void start() {
    const float* lse = args_.lse + walk_.first();
    for (int64_t r = 0; r < walk_.rows(); ++r) {
      lse_[r] = lse[r] == -kInfinity ? kInfinity : is_finite(lse[r]) ? lse[r] * kLog2E : std::nanf("");
      entropy_[r] = distance_[r] = 0.0f;
    }
    std::fill_n(top_weights_.get(), walk_.rows() * kept_, 0.0f);
    std::fill_n(top_keys_.get(), walk_.rows() * kept_, int64_t{-1});
  }

  void visit(const Run& run, float factor) {
    if (args_.received) std::fill_n(column_sums_.get(), run.columns(), 0.0f);
    for (int64_t r = 0; r < run.n_rows; ++r) {
      if (weigh(run, r, factor)) observe(run, r);
    }
    if (args_.received) {
      const int64_t inside = std::min(run.columns(), args_.n.keys - run.begin);
      for (int64_t c = 0; c < inside; ++c) received_[run.begin + c] += column_sums_[c];
    }
    if (args_.blocks.means) add_blocks(run);
    if (!chosen_.empty()) copy_chosen(run);
  }

  TopList top_of(int64_t place) const {
    return {top_weights_.get() + place * kept_, top_keys_.get() + place * kept_, kept_};
  }
  float* row(const Run& run, int64_t r) const { return walk_.scores() + r * run.columns(); }

  // Scores to weights; false: the query sees no key at all.
  bool weigh(const Run& run, int64_t r, float factor) {
    float lse = lse_[run.first_row + r];
    float* scores = row(run, r);
    if (lse == kInfinity) {
      std::fill_n(scores, run.columns(), 0.0f);
      return false;
    }
    if (std::isnan(lse)) {
      for (int64_t c = 0; c < run.columns(); ++c) {
        if (scores[c] != -kInfinity) scores[c] = lse;
      }
      lse = 0.0f;
    }
    entropy_[run.first_row + r] -=
        kLn2 * kernels_.weights(scores, static_cast<int32_t>(run.columns()), factor, lse);
    return true;
  }

  void observe(const Run& run, int64_t r) {
    const int64_t place = run.first_row + r;
    const auto columns = static_cast<int32_t>(run.columns());
    const float* weights = row(run, r);
    if (args_.distance) {
      const auto first = static_cast<int32_t>(run.begin - (walk_.q0() + place));
      distance_[place] += kernels_.distance(weights, columns, first);
    }
    if (args_.received) kernels_.add(column_sums_.get(), weights, columns);
    if (kept_) {
      kernels_.top(weights, columns, run.begin, top_of(place));
    }
  }

  // The queries of one row of the map are summed before its columns are.
  void add_blocks(const Run& run) {
    const int64_t first = walk_.q0() + run.first_row, end = first + run.n_rows;
    for (int64_t q = first; q < end;) {
      const int64_t map_row = q / args_.blocks.queries,
                    row_end = std::min((map_row + 1) * args_.blocks.queries, end);
      std::fill_n(column_sums_.get(), run.columns(), 0.0f);
      for (; q < row_end; ++q) {
        kernels_.add(column_sums_.get(), row(run, q - first), static_cast<int32_t>(run.columns()));
      }
      add_columns(run, map_of_head() + map_row * map_columns());
    }
  }

  void add_columns(const Run& run, float* map_row) const {
    const int64_t size = args_.blocks.keys, end = std::min(run.end, args_.n.keys);
    for (int64_t k = run.begin; k < end;) {
      const int64_t column = k / size, column_end = std::min((column + 1) * size, end);
      double sum = 0.0;
      for (; k < column_end; ++k) sum += column_sums_[k - run.begin];
      map_row[column] += static_cast<float>(sum);
    }
  }

  void average_blocks() const {
    const BlockMeanArgs& blocks = args_.blocks;
    for (int64_t i = 0; i < map_rows(); ++i) {
      const int64_t queries = std::min(blocks.queries, args_.n.queries - i * blocks.queries);
      for (int64_t j = 0; j < map_columns(); ++j) {
        const int64_t keys = std::min(blocks.keys, args_.n.keys - j * blocks.keys);
        map_of_head()[i * map_columns() + j] /= static_cast<float>(queries) * static_cast<float>(keys);
      }
    }
  }

  void copy_chosen(const Run& run) const {
    const int64_t first = walk_.q0() + run.first_row, count = std::min(run.end, args_.n.keys) - run.begin;
    auto next = std::lower_bound(chosen_.begin(), chosen_.end(), std::pair{first, int64_t{0}});
    for (; next != chosen_.end() && next->first < first + run.n_rows; ++next) {
      const auto rows = static_cast<int64_t>(chosen_.size());
      std::copy_n(row(run, next->first - first), count,
                  args_.rows.weights + (head_ * rows + next->second) * args_.n.keys + run.begin);
    }
  }

  // What is known once a block has seen all keys. Rounding must not make an entropy negative.
  void store_rows() const {
    const int64_t first = walk_.first();
    for (int64_t r = 0; r < walk_.rows(); ++r) {
      if (kept_) top_of(r).sort();
      if (args_.entropy) args_.entropy[first + r] = entropy_[r] < 0.0f ? 0.0f : entropy_[r];
      if (args_.distance) args_.distance[first + r] = distance_[r];
      if (args_.argmax) args_.argmax[first + r] = top_keys_[r * kept_];
      if (args_.top.count && std::isnan(lse_[r])) std::fill_n(top_weights_.get() + r * kept_, kept_, lse_[r]);
    }
    if (!args_.top.count) return;
    std::copy_n(top_weights_.get(), walk_.rows() * kept_, args_.top.weights + first * kept_);
    std::copy_n(top_keys_.get(), walk_.rows() * kept_, args_.top.keys + first * kept_);
  }

  int64_t map_rows() const { return ceil_div(args_.n.queries, args_.blocks.queries); }
  int64_t map_columns() const { return ceil_div(args_.n.keys, args_.blocks.keys); }
  float* map_of_head() const { return args_.blocks.means + head_ * map_rows() * map_columns(); }

  const ObserveArgs& args_;
  const ChosenRows& chosen_;
  ScoreWalk<T, C> walk_;
  ObserveKernels kernels_;
  int64_t kept_;
  Buffer<float> lse_, entropy_, distance_, top_weights_;
  Buffer<int64_t> top_keys_;
  Buffer<float> column_sums_;
  Buffer<double> received_;
  int64_t head_ = 0;
};

template <class T, class C>
void observe(const ObserveArgs& args) {
  const PackedKeys<T, C> packed(args.n, args.k, {});
  const ChosenRows chosen = chosen_rows(args.rows);
  for_each_task(
      args.n.batch * args.n.heads, [&] { return HeadObserver<T, C>(args, packed, chosen); },
      [&](HeadObserver<T, C>& head, int64_t task) { head.run(task / args.n.heads, task % args.n.heads); });
}

}  // namespace

void attend_observe(const ObserveArgs& args) {
  if (args.n.batch * args.n.heads == 0) return;
  with_types(args.type, [&]<class T, class C>() { observe<T, C>(args); });
}

}  // namespace fovea::kernels
