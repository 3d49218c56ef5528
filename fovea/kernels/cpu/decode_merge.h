#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/constants.h"
#include "fovea/kernels/cpu/decode_parts.h"
#include "fovea/kernels/cpu/decode_rows.h"
#include "fovea/kernels/cpu/pack.h"
#include "fovea/kernels/decode_args.h"

namespace fovea::kernels {

/// Adds up the parts of a KV head's rows, in their order. T is the operands' type.
template <class T>
class PartMerger {
 public:
  PartMerger(const DecodeArgs& args, const DecodeParts& parts)
      : args_(args),
        parts_(parts),
        group_(args.n),
        unpack_(decode_kernels(args.type).unpack),
        sum_(packed_width(args.n.value_dim)),
        row_(args.n.value_dim) {}

  void run(int64_t kv) {
    const int64_t batch = kv / args_.n.kv_heads, first_head = kv % args_.n.kv_heads * group_.heads;
    for (int64_t r = 0; r < group_.rows; ++r) {
      const int64_t head = first_head + r / args_.n.queries, query = r % args_.n.queries;
      const State state = merge(kv * parts_.count(), r);
      unpack_(sum_.get(), args_.n.value_dim, state.sum == 0.0f ? 0.0f : 1.0f / state.sum, row_.get());
      store_rows({row_.get(), args_.n.value_dim, 1, args_.n.value_dim},
                 row_of<T>(args_.out, batch, head, query), args_.out.row, {});
      if (!args_.lse) continue;
      float* lse = args_.lse + (batch * args_.n.heads + head) * args_.n.queries;
      lse[query] = natural_lse(state.maximum, state.sum);
    }
  }

 private:
  struct State {
    float maximum, sum;
  };

  // Leaves the row's sum of values in sum_.
  State merge(int64_t first, int64_t r) {
    const int64_t width = packed_width(args_.n.value_dim);
    float maximum = -kInfinity, total = 0.0f;
    for (int64_t i = first; i < first + parts_.count(); ++i) {
      maximum = std::max(maximum, parts_.maximum(i)[r]);
    }
    std::fill(sum_.get(), sum_.get() + width, 0.0f);
    for (int64_t i = first; i < first + parts_.count(); ++i) {
      if (parts_.sum(i)[r] == 0.0f) continue;
      const float scale = std::exp2(parts_.maximum(i)[r] - maximum);
      const float* out = parts_.out(i) + r * width;
      total += scale * parts_.sum(i)[r];
      for (int64_t d = 0; d < width; ++d) sum_[d] += scale * out[d];
    }
    return {maximum, total};
  }

  const DecodeArgs& args_;
  const DecodeParts& parts_;
  DecodeGroup group_;
  void (*unpack_)(const float*, int64_t, float, float*);
  Buffer<float> sum_, row_;
};

}  // namespace fovea::kernels
