#include "fovea/ops/unchanged.h"

#include "fovea/core/error.h"
#include "fovea/ops/attend_functors.h"
#include "fovea/ops/attend_normalisers.h"
#include "fovea/ops/attend_similarity.h"
#include "fovea/ops/describe.h"

namespace fovea {

Unchanged::Unchanged(const AttendOptions& options) {
  const auto watch = [&](const std::optional<at::Tensor>& t) {
    if (t && t->defined() && !t->is_inference()) watched_.push_back({*t, t->_version()});
  };
  for (const auto* t : {&options.bias, &options.alibi_slopes, &options.relative_table, &options.relative_keys,
                        &options.mask, &options.key_lengths}) {
    watch(*t);
  }
  watch(sinks_of(options));
  watch(per_head_of(options.similarity));
  if (options.relative_grid) watch(options.relative_grid->table);
  if (options.segments) watch(options.segments->query_ids);
  if (options.segments) watch(options.segments->key_ids);
  if (options.blocks) watch(options.blocks->mask);
  if (options.functors) watch(options.functors->learned());
}

void Unchanged::check(const char* where) const {
  for (const auto& [tensor, version] : watched_) {
    if (tensor._version() == version) continue;
    throw usage_error(where, "tensors of the options must keep their numbers until the gradient is computed",
                      describe(tensor) + " changed in place", "Pass a clone.");
  }
}

}  // namespace fovea
