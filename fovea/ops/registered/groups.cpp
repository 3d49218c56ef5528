#include "fovea/ops/registered/groups.h"

#include <string>

#include "fovea/core/error.h"
#include "fovea/ops/describe.h"

namespace fovea::registered {

void require_own_heads(const char* where, const at::Tensor& q, const at::Tensor& keys, const char* name,
                       int64_t dims) {
  if (q.dim() != dims || keys.dim() != dims || q.size(1) == keys.size(1)) return;
  const std::string of_keys(name);
  throw usage_error(where, "q and " + of_keys + " must share the number of heads",
                    "q " + describe(q) + ", " + of_keys + " " + describe(keys),
                    "Pass enable_gqa=True to let heads share keys.");
}

}  // namespace fovea::registered
