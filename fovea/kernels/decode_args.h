#pragma once
#include <cstdint>

#include "fovea/kernels/attend_args.h"

namespace fovea::kernels {

/// Where keys stand that are kept in pages of `size`: key j of a sequence is row j % size of page
/// table[batch * row + j / size]. A null table means: not in pages.
struct Pages {
  const int32_t* table = nullptr;
  int64_t row = 0, size = 0;
};

struct DecodeArgs {
  /// n.keys is the most that a sequence has.
  AttendSizes n;
  Type type;
  /// With pages, the batch stride of k and v is that of a page.
  Operand q, k, v;
  Output out;
  /// Natural log-sum-exp of each row of scores, (B, H, N) contiguous; -inf where a query sees no key. May be
  /// null.
  float* lse;
  float scale;
  TilePrograms programs;
  Pages pages;
  /// Keys of each sequence, with which its queries end: query i of N is its position length - N + i, so for
  /// the programs too, and sees keys up to itself. Null: n.keys each, query i is position i, and only the
  /// programs hide.
  const int32_t* lengths = nullptr;
};

/// attend_forward() for few queries: no packing, and each key and value is read once for all query heads that
/// share it and all queries. Deterministic, whatever the number of threads and the other sequences of the
/// batch: each part of 512 keys is computed by itself, and the parts are added in their order. A key that a
/// query may not see has no influence on it, NaN and infinity included; a query that sees none gives 0.
/// O(B H N M (D + Dv)) time, O(B H N Dv M / 512) memory. Throws std::bad_alloc.   Source of the split over
/// keys: Flash-Decoding (Dao et al. 2023); of the pages: PagedAttention (Kwon et al. 2023), 4.1.
void decode(const DecodeArgs& args);

}  // namespace fovea::kernels
