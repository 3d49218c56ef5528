#include "fovea/ops/option_tensors.h"

#include "fovea/ops/attend_functors.h"
#include "fovea/ops/attend_normalisers.h"
#include "fovea/ops/attend_similarity.h"

namespace fovea {

std::vector<at::Tensor> tensors_of(const AttendOptions& options) {
  std::vector<at::Tensor> tensors;
  const auto add = [&](const std::optional<at::Tensor>& t) {
    if (t && t->defined()) tensors.push_back(*t);
  };
  for (const auto* t : {&options.bias, &options.alibi_slopes, &options.relative_table, &options.relative_keys,
                        &options.mask, &options.key_lengths}) {
    add(*t);
  }
  add(sinks_of(options));
  add(alphas_of(options));
  add(per_head_of(options.similarity));
  if (options.relative_grid) add(options.relative_grid->table);
  if (options.segments) add(options.segments->query_ids);
  if (options.segments) add(options.segments->key_ids);
  if (options.blocks) add(options.blocks->mask);
  if (options.functors) add(options.functors->learned());
  return tensors;
}

}  // namespace fovea
