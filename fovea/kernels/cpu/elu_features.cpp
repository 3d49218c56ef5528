#include <algorithm>

#include "fovea/core/ceil_div.h"
#include "fovea/kernels/cpu/elu_rows.h"
#include "fovea/kernels/cpu/parallel.h"
#include "fovea/kernels/linear_args.h"

namespace fovea::kernels {

void elu_features(const EluArgs& args) {
  constexpr int64_t kRows = 512;
  const int64_t pieces = ceil_div(args.rows, kRows);
  for_each_task(
      args.batch * args.heads * pieces, [] { return 0; },
      [&](int, int64_t task) {
        const int64_t entry = task / pieces, first = task % pieces * kRows;
        const int64_t batch = entry / args.heads, head = entry % args.heads;
        elu_rows(rows_of<float>(args.x, batch, head, first, std::min(kRows, args.rows - first), args.dim),
                 row_of<float>(args.out, batch, head, first), args.out.row);
      });
}

}  // namespace fovea::kernels
