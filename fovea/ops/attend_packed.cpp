#include "fovea/ops/attend_packed.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include "fovea/core/error.h"
#include "fovea/ops/attend_dropout.h"
#include "fovea/ops/describe.h"

namespace fovea {
namespace {

constexpr const char* kPacked = "attend_packed";

// Lengths of the sequences.
std::vector<int64_t> lengths_of(const at::Tensor& offsets, int64_t total, const char* name) {
  if (offsets.dim() != 1 || offsets.numel() < 1 || !at::isIntegralType(offsets.scalar_type(), false)) {
    throw usage_error(kPacked, std::string(name) + " must be integers of shape (S + 1)", describe(offsets),
                      "Give where each sequence begins, and where the last one ends.");
  }
  const at::Tensor values = offsets.to(at::kCPU, at::kLong).contiguous();
  const int64_t* at = values.const_data_ptr<int64_t>();
  const int64_t count = values.numel();
  std::vector<int64_t> lengths;
  for (int64_t s = 0; s + 1 < count; ++s) {
    if (at[s] <= at[s + 1]) continue;
    throw usage_error(
        kPacked, std::string(name) + " must not descend",
        std::to_string(at[s]) + " before " + std::to_string(at[s + 1]) + " at " + std::to_string(s),
        "Sort the sequences as their rows are.");
  }
  if (at[0] != 0 || at[count - 1] != total) {
    throw usage_error(kPacked,
                      std::string(name) + " must go from 0 to the number of rows, " + std::to_string(total),
                      std::to_string(at[0]) + " ... " + std::to_string(at[count - 1]), "Cover all rows.");
  }
  for (int64_t s = 1; s < count; ++s) lengths.push_back(at[s] - at[s - 1]);
  return lengths;
}

void check_options(const AttendOptions& options) {
  const bool entries = options.bias || options.mask || options.blocks || options.segments ||
                       options.key_lengths || options.weights || options.lse ||
                       (options.alibi_slopes && options.alibi_slopes->dim() != 1);
  if (!entries) return;
  throw usage_error(kPacked,
                    "options of packed sequences must not have an entry for each pair or batch entry",
                    "a bias, mask, blocks, segments, key_lengths, weights, lse, or slopes (B, H)",
                    "Give what depends on positions as functors, or pad and call attend().");
}

// (rows, H, D) as (1, H, rows, D).
std::vector<at::Tensor> sequences(const at::Tensor& t, const std::vector<int64_t>& lengths) {
  return t.transpose(0, 1).unsqueeze(0).split_with_sizes(lengths, 2);
}

}  // namespace

at::Tensor attend_packed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         const at::Tensor& query_offsets, const at::Tensor& key_offsets,
                         const AttendOptions& options) {
  if (q.dim() != 3 || k.dim() != 3 || v.dim() != 3 || k.size(0) != v.size(0)) {
    throw usage_error(kPacked, "q must be (Nsum, H, D), k (Msum, Hkv, D) and v (Msum, Hkv, Dv)",
                      "q " + describe(q) + ", k " + describe(k) + ", v " + describe(v),
                      "Leave the batch dimension out.");
  }
  check_options(options);
  const auto queries = lengths_of(query_offsets, q.size(0), "query_offsets"),
             keys = lengths_of(key_offsets, k.size(0), "key_offsets");
  if (queries.size() != keys.size()) {
    throw usage_error(kPacked, "query_offsets and key_offsets must count the same sequences",
                      std::to_string(queries.size()) + " and " + std::to_string(keys.size()),
                      "Give each one its keys.");
  }
  const auto qs = sequences(q, queries), ks = sequences(k, keys), vs = sequences(v, keys);
  AttendOptions own = options;
  const uint64_t seed = options.seed || options.dropout_p == 0.0 ? options.seed.value_or(0) : draw_seed();
  std::vector<at::Tensor> parts;
  for (size_t s = 0; s < qs.size(); ++s) {
    own.seed = seed + s * 0x9E3779B97F4A7C15u;
    parts.push_back(attend(qs[s], ks[s], vs[s], own).out);
  }
  if (parts.empty()) return at::empty({0, q.size(1), v.size(2)}, q.options());
  return at::cat(parts, 2).squeeze(0).transpose(0, 1);
}

}  // namespace fovea
