#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tests/ops/attend_cases.h"
#include "tests/ops/covering_array.h"

// The axes of attend()'s case table, and what is drawn from their product.

namespace fovea::test {

/// Values of the axes; the layout "packed" is a call of attend_packed().
struct AttendAxes {
  std::vector<std::string> functors, layouts;
  std::vector<at::ScalarType> types;
  std::vector<int64_t> queries, keys, dims, value_dims, batches;
  std::vector<std::pair<int64_t, int64_t>> heads;  // and those of the keys

  std::vector<size_t> sizes() const {
    return {functors.size(), queries.size(), keys.size(),  dims.size(),   value_dims.size(),
            layouts.size(),  heads.size(),   types.size(), batches.size()};
  }

  /// `row` has an index for each of sizes(). No value_dims: the values are as wide as the keys.
  AttendCase at(const Row& row) const {
    return {.batch = batches[row[8]],
            .heads = heads[row[6]].first,
            .kv_heads = heads[row[6]].second,
            .queries = queries[row[1]],
            .keys = keys[row[2]],
            .dim = dims[row[3]],
            .value_dim = value_dims[row[4]] ? value_dims[row[4]] : dims[row[3]],
            .type = types[row[7]],
            .layout = layouts[row[5]],
            .functors = functors[row[0]]};
  }
};

/// Options without an entry for each pair or batch entry, and without numbers that differ from sequence to
/// sequence.
inline bool can_be_packed(const std::string& functors) {
  static const std::vector<std::string> all = {
      "none",    "causal", "bottom_right", "window",   "window_option", "dilated", "prefix",        "global",
      "softcap", "alibi",  "not_causal",   "relative", "sink_causal",   "sigmoid", "sigmoid_causal"};
  return std::find(all.begin(), all.end(), functors) != all.end();
}

inline bool may_be_packed(const std::string& layout, const std::string& functors) {
  return layout != "packed" || can_be_packed(functors);
}

inline const AttendAxes& all_axes() {
  static const AttendAxes axes = {.functors = fused_names(),
                                  .layouts = {"contiguous", "BTHD", "padded", "broadcast", "packed"},
                                  .types = {at::kFloat, at::kBFloat16, at::kHalf},
                                  .queries = {0, 1, 15, 16, 17, 63, 64, 100, 257, 1000},
                                  .keys = {0, 1, 15, 16, 17, 63, 64, 100, 257, 1000},
                                  .dims = {8, 24, 32, 64, 80, 96, 128, 256},
                                  .value_dims = {8, 24, 32, 64, 80, 96, 128, 256},
                                  .batches = {1, 2},
                                  .heads = {{1, 1}, {2, 2}, {4, 2}, {3, 1}}};
  return axes;
}

/// Short sequences. Strides, grouped queries and packing each on or off.
inline const AttendAxes& short_axes() {
  static const AttendAxes axes = {.functors = fused_names(),
                                  .layouts = {"contiguous", "padded", "packed"},
                                  .types = {at::kFloat, at::kBFloat16, at::kHalf},
                                  .queries = {0, 1, 15, 16, 17, 63, 64},
                                  .keys = {0, 1, 15, 16, 17, 63, 64},
                                  .dims = {8, 24, 32, 64, 80, 96, 128, 256},
                                  .value_dims = {0},
                                  .batches = {1},
                                  .heads = {{2, 2}, {2, 1}}};
  return axes;
}

/// Each pair of values of two axes stands in a case.
inline std::vector<AttendCase> all_pairs(const AttendAxes& axes, uint64_t seed) {
  const auto may = [&](const Pair& p) {
    return !(p.axis == 0 && p.other_axis == 5) ||
           may_be_packed(axes.layouts[p.other_value], axes.functors[p.value]);
  };
  std::vector<AttendCase> cases;
  const CoveringArray array(axes.sizes(), may, seed);
  for (const auto& row : array.rows()) cases.push_back(axes.at(row));
  return cases;
}

/// How many cases the product has, those that cannot be packed included.
inline size_t product_size(const AttendAxes& axes) {
  size_t count = 1;
  for (const size_t size : axes.sizes()) count *= size;
  return count;
}

inline AttendCase product_case(const AttendAxes& axes, size_t number) {
  Row row;
  for (const size_t size : axes.sizes()) {
    row.push_back(number % size);
    number /= size;
  }
  return axes.at(row);
}

}  // namespace fovea::test
