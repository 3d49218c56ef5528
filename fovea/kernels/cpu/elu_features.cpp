#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <immintrin.h>

#include <algorithm>

#include "fovea/core/ceil_div.h"
#include "fovea/core/isa.h"
#include "fovea/kernels/cpu/pack.h"
#include "fovea/kernels/cpu/parallel.h"
#include "fovea/kernels/linear_args.h"
#include "fovea/mods/simd.h"

// g++ 12 takes the undefined parts of its own AVX-512 intrinsics for a mistake (its bug 105593).
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace fovea::kernels {
namespace {

#define FOVEA_ROWS "fovea/kernels/cpu/elu_features.inl"
#include "fovea/kernels/cpu/each_isa.inl"

}  // namespace

void elu_features(const EluArgs& args) {
  constexpr int64_t kRows = 512;
  const int64_t pieces = ceil_div(args.rows, kRows);
  const auto run = for_active_isa(baseline::elu_rows, avx2::elu_rows, avx512::elu_rows);
  for_each_task(
      args.batch * args.heads * pieces, [] { return 0; },
      [&](int, int64_t task) {
        const int64_t entry = task / pieces, first = task % pieces * kRows;
        const int64_t batch = entry / args.heads, head = entry % args.heads;
        run(rows_of<float>(args.x, batch, head, first, std::min(kRows, args.rows - first), args.dim),
            row_of<float>(args.out, batch, head, first), args.out.row);
      });
}

}  // namespace fovea::kernels
