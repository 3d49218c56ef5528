#pragma once
#include <algorithm>
#include <cstdint>

#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/elu_rows.h"
#include "fovea/kernels/cpu/linear_chunks.h"
#include "fovea/kernels/cpu/pack.h"

// What makes features of the rows that linear attention is given, a chunk at a time.

namespace fovea::kernels {

class GivenFeatures {
 public:
  explicit GivenFeatures(int64_t /*dim*/) {}

  Rows<float> of(const Rows<float>& rows) const { return rows; }
  /// Gradients by rows, of those by their features.
  static void store_gradients(const Rows<float>& grads, const Rows<float>& /*rows*/, float* to,
                              int64_t stride) {
    store_rows<float>(grads, to, stride, {});
  }
};

/// Stays in the first-level cache, where features in memory would be written and read again.
class EluFeatures {
 public:
  explicit EluFeatures(int64_t dim) : width_(round_up(dim, 16)), room_(kLinearChunk * width_) {}

  /// Until the next call.
  Rows<float> of(const Rows<float>& rows) const {
    elu_rows(rows, room_.get(), width_);
    return {room_.get(), width_, rows.count, rows.dim};
  }
  static void store_gradients(const Rows<float>& grads, const Rows<float>& rows, float* to, int64_t stride) {
    elu_gradients(grads, rows, to, stride);
  }

 private:
  int64_t width_;
  Buffer<float> room_;
};

}  // namespace fovea::kernels
