#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>

namespace fovea {

class AttendFunctors;

struct AttendPagedOptions {
  /// Factor on q.k; 1 / sqrt(D) when empty.
  std::optional<double> scale;
  /// As AttendOptions::functors; at.q and at.k are positions in the sequence. Their mask joins the causal
  /// order.
  std::shared_ptr<const AttendFunctors> functors;
};

/// Keys and values of sequences of different lengths, kept in pages: key j of sequence b is row j % page of
/// page table[b, j / page] of each head.
struct PagedCache {
  /// (P, Hkv, page, D) and (P, Hkv, page, Dv), any page >= 1.
  at::Tensor k_pages, v_pages;
  /// (B, pages of the longest) int32; entries that a length does not need are not read.
  at::Tensor table;
  /// (B) int32, 0 ... pages of the longest * page.
  at::Tensor lengths;
};

/// Attention of the newest positions to a paged cache that holds them already: query n of N is position
/// p = lengths[b] - N + n and sees the keys j <= p (for N > 1 that is the causal order, aligned bottom
/// right). out_n = softmax_j(mask(score(scale q_n . k_j))) v_j q (B, H, N, D) -> (B, H, N, Dv); H a multiple
/// of Hkv. A query before the start of its sequence (p < 0), like one that may see no key, gives 0. Rows of
/// pages that are beyond a length have no influence. In one kernel, which reads keys and values once for all
/// heads that share them, on the CPU for float32, bfloat16 and float16, head sizes up to 256 and without
/// gradients; otherwise sequence by sequence as attend(); FOVEA_VERBOSE=dispatch says which. Throws
/// fovea::Error (usage) on shapes, types, devices, lengths or page numbers that do not fit. O(sum_b H N
/// lengths_b (D + Dv)) time, O(B H N Dv max_b lengths_b / 512) memory. Source: PagedAttention (Kwon et al.
/// 2023), section 4.
at::Tensor attend_paged(const at::Tensor& q, const PagedCache& cache, const AttendPagedOptions& options = {});

}  // namespace fovea
