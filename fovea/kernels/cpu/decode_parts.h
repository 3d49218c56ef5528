#pragma once
#include <cstdint>

#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/decode_rows.h"
#include "fovea/kernels/decode_args.h"

// How decode() divides its work: a task is one part of the keys for all query rows that share a KV head.

namespace fovea::kernels {

/// The query rows that share a KV head: those of its first query head, then of the next.
struct DecodeGroup {
  explicit DecodeGroup(const AttendSizes& n) : heads(n.heads / n.kv_heads), rows(heads * n.queries) {}
  int64_t heads, rows;
};

/// What is known of each row after each part, one task after the other.
class DecodeParts {
 public:
  /// Keys of a part, which one thread walks.
  static constexpr int64_t kKeys = 512;

  explicit DecodeParts(const AttendSizes& n)
      : count_((n.keys + kKeys - 1) / kKeys),
        tasks_(n.batch * n.kv_heads * count_),
        rows_(DecodeGroup(n).rows),
        width_(packed_width(n.value_dim)),
        state_(tasks_ * rows_ * 2),
        out_(tasks_ * rows_ * width_) {}

  int64_t count() const { return count_; }
  /// Task t is part t % count() of KV head t / count(), counted through the batch.
  int64_t tasks() const { return tasks_; }
  float* maximum(int64_t task) const { return state_.get() + task * rows_ * 2; }
  float* sum(int64_t task) const { return maximum(task) + rows_; }
  /// Rows x packed_width(value_dim), not yet divided by the sum.
  float* out(int64_t task) const { return out_.get() + task * rows_ * width_; }
  int64_t out_size() const { return rows_ * width_; }

 private:
  int64_t count_, tasks_, rows_, width_;
  Buffer<float> state_, out_;
};

}  // namespace fovea::kernels
