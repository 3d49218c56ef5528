#pragma once
#include <algorithm>
#include <cstdint>

#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/linear_features.h"
#include "fovea/kernels/cpu/pack.h"
#include "fovea/kernels/cpu/parallel.h"

// What both directions of linear attention in causal order share beside their chunks.

namespace fovea::kernels {

inline void clear(const Buffer<float>& numbers, int64_t count) {
  std::fill(numbers.get(), numbers.get() + count, 0.0f);
}

template <class Head, class Args>
void run_heads(const Args& args) {
  for_each_task(
      args.n.batch * args.n.kv_heads, [&] { return Head(args); },
      [&](Head& head, int64_t task) { head.run(task / args.n.kv_heads, task % args.n.kv_heads); });
}

/// Each head of keys, by Head<Features> of the call's features.
template <template <class> class Head, class Args>
void run_linear_heads(const Args& args) {
  if (args.features == LinearFeatures::elu) return run_heads<Head<EluFeatures>>(args);
  run_heads<Head<GivenFeatures>>(args);
}

}  // namespace fovea::kernels
