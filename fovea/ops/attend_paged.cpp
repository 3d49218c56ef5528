#include "fovea/ops/attend_paged.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "fovea/core/ceil_div.h"
#include "fovea/core/error.h"
#include "fovea/kernels/decode_args.h"
#include "fovea/ops/attend_calls.h"
#include "fovea/ops/attend_functors.h"
#include "fovea/ops/attend_kernel_args.h"
#include "fovea/ops/attend_paged_composed.h"
#include "fovea/ops/choice.h"
#include "fovea/ops/describe.h"

namespace fovea {
namespace {

constexpr const char* kPaged = "attend_paged";

std::string describe_pages(const at::Tensor& q, const PagedCache& cache) {
  return "q " + describe(q) + ", k_pages " + describe(cache.k_pages) + ", v_pages " + describe(cache.v_pages);
}

void check_pages(const at::Tensor& q, const PagedCache& cache) {
  const at::Tensor &k = cache.k_pages, &v = cache.v_pages;
  const std::string found = describe_pages(q, cache);
  if (q.dim() != 4 || k.dim() != 4 || v.dim() != 4) {
    throw usage_error(kPaged, "q (B, H, N, D) and the pages (P, Hkv, page, D) must have 4 dimensions", found,
                      "Add the missing dimensions with unsqueeze.");
  }
  if (q.size(3) != k.size(3)) {
    throw usage_error(kPaged, "q and k_pages must share head_dim", found, "Project k as q.");
  }
  if (!k.sizes().slice(0, 3).equals(v.sizes().slice(0, 3))) {
    throw usage_error(kPaged, "k_pages and v_pages must share pages, heads and page size", found,
                      "Give every key one value.");
  }
  if (k.size(2) < 1) throw usage_error(kPaged, "a page must hold a key", found, "16 or more are usual.");
  const bool grouped = k.size(1) > 0 && q.size(1) % k.size(1) == 0;
  if (!grouped && q.size(1) != k.size(1)) {
    throw usage_error(kPaged, "the heads of q must be a multiple of those of the pages", found,
                      "Share heads evenly.");
  }
  if (!q.is_floating_point() || q.scalar_type() != k.scalar_type() || q.scalar_type() != v.scalar_type()) {
    throw usage_error(kPaged, "q, k_pages and v_pages must share one floating point type", found,
                      "Convert them.");
  }
  if (q.device() != k.device() || q.device() != v.device()) {
    throw usage_error(kPaged, "q, k_pages and v_pages must be on one device", found,
                      "Move them to the device of q.");
  }
}

void check_table(const at::Tensor& q, const PagedCache& cache) {
  const std::string found =
      "q " + describe(q) + ", table " + describe(cache.table) + ", lengths " + describe(cache.lengths);
  const auto is_index = [&](const at::Tensor& t, int64_t dims) {
    return t.defined() && t.dim() == dims && t.scalar_type() == at::kInt && t.device() == q.device() &&
           t.size(0) == q.size(0);
  };
  if (!is_index(cache.table, 2) || !is_index(cache.lengths, 1)) {
    throw usage_error(kPaged, "the table (B, pages) and the lengths (B) must be int32, on the device of q",
                      found, "Convert them to int32, there.");
  }
}

// Table and lengths as contiguous tensors on the CPU, for reading.
struct Index {
  at::Tensor table, lengths;
  const int32_t* row(int64_t batch) const { return table.const_data_ptr<int32_t>() + batch * table.size(1); }
  int32_t length(int64_t batch) const { return lengths.const_data_ptr<int32_t>()[batch]; }
};

void check_numbers(const PagedCache& cache, const Index& index) {
  const int64_t pages = cache.k_pages.size(0), page = cache.k_pages.size(2),
                room = index.table.size(1) * page;
  for (int64_t b = 0; b < index.lengths.size(0); ++b) {
    const int64_t length = index.length(b);
    if (length < 0 || length > room) {
      throw usage_error(kPaged,
                        "a length must be in 0 ... " + std::to_string(room) + ", as the table's rows hold",
                        std::to_string(length) + " for sequence " + std::to_string(b), "Lengthen the table.");
    }
    for (int64_t i = 0; i < ceil_div(length, page); ++i) {
      const int32_t number = index.row(b)[i];
      if (number >= 0 && number < pages) continue;
      throw usage_error(
          kPaged, "a page number must be in 0 ... " + std::to_string(pages - 1),
          std::to_string(number) + " as page " + std::to_string(i) + " of sequence " + std::to_string(b),
          "The table counts pages, not keys.");
    }
  }
}

int64_t longest(const Index& index) {
  int64_t most = 0;
  for (int64_t b = 0; b < index.lengths.size(0); ++b) most = std::max<int64_t>(most, index.length(b));
  return most;
}

std::optional<std::string_view> why_not_paged(const at::Tensor& q, const PagedCache& cache,
                                              const AttendOptions& options) {
  if (const auto reason = why_not_kernel(q, cache.k_pages, cache.v_pages, options)) return reason;
  if (cache.k_pages.size(2) * cache.table.size(1) >= kLongestKernel) return "a length may not be below 2^29";
  if (wants_gradient(q, cache.k_pages, cache.v_pages, options)) return "a gradient is wanted";
  return std::nullopt;
}

at::Tensor run_paged(const at::Tensor& q, const PagedCache& cache, const Index& index,
                     const AttendOptions& options) {
  const at::Tensor rows_q = with_unit_stride(q), k = with_unit_stride(cache.k_pages),
                   v = with_unit_stride(cache.v_pages);
  const at::Tensor out = empty_output(q, v);
  FunctorList functors;
  if (options.functors) functors.push_back(options.functors);
  const auto programs = programs_of(functors);
  kernels::AttendSizes n = sizes(q, k, v);
  n.keys = longest(index);
  kernels::decode({.n = n,
                   .type = *kernel_type(q.scalar_type()),
                   .q = operand(rows_q),
                   .k = operand(k),
                   .v = operand(v),
                   .out = output(out),
                   .lse = nullptr,
                   .scale = scale_of(q, options),
                   .programs = programs,
                   .pages = {index.row(0), index.table.size(1), k.size(2)},
                   .lengths = index.lengths.const_data_ptr<int32_t>()});
  return out;
}

}  // namespace

at::Tensor attend_paged(const at::Tensor& q, const PagedCache& cache, const AttendPagedOptions& options) {
  check_pages(q, cache);
  check_table(q, cache);
  if (options.scale && !(std::abs(*options.scale) <= std::numeric_limits<float>::max())) {
    throw usage_error(kPaged, "the scale must be finite", describe_number(*options.scale),
                      "Leave it empty for 1 / sqrt(D).");
  }
  const Index index{cache.table.cpu().contiguous(), cache.lengths.cpu().contiguous()};
  check_numbers(cache, index);
  if (options.functors) options.functors->require({q.size(0), q.size(1), longest(index), longest(index)});
  AttendOptions plain;
  plain.scale = options.scale;
  plain.functors = options.functors;
  const auto reason = why_not_paged(q, cache, plain);
  report_choice("attend_paged", q, cache.k_pages, "paged", reason);
  return reason ? attend_paged_composed(q, cache, options) : run_paged(q, cache, index, plain);
}

}  // namespace fovea
