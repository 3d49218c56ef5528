#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <cstdint>

#include "fovea/kernels/cpu/decode_merge.h"
#include "fovea/kernels/cpu/decode_parts.h"
#include "fovea/kernels/cpu/decode_walk.h"
#include "fovea/kernels/cpu/parallel.h"
#include "fovea/kernels/decode_args.h"

namespace fovea::kernels {
namespace {

template <class T>
void decode_as(const DecodeArgs& args) {
  const DecodeParts parts(args.n);
  for_each_task(
      parts.tasks(), [&] { return PartWalker<T>(args, parts); },
      [](PartWalker<T>& walker, int64_t task) { walker.run(task); });
  for_each_task(
      args.n.batch * args.n.kv_heads, [&] { return PartMerger<T>(args, parts); },
      [](PartMerger<T>& merger, int64_t kv) { merger.run(kv); });
}

}  // namespace

void decode(const DecodeArgs& args) {
  if (args.n.batch * args.n.heads * args.n.queries == 0) return;
  switch (args.type) {
    case Type::f32:
      return decode_as<float>(args);
    case Type::bf16:
      return decode_as<c10::BFloat16>(args);
    case Type::f16:
      return decode_as<c10::Half>(args);
  }
}

}  // namespace fovea::kernels
