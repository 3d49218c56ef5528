#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace fovea::nn {

/// Keys and values of a sequence that comes in pieces, of which those are dropped that no later query sees:
/// with expire_span, position j lives while e_j + R > i - j, see ExpireSpanAttention. A key stays as long as
/// one of the batch needs it.   Source: Not all memories are created equal (Sukhbaatar et al. 2021),
/// section 4.
class ExpireMemory {
 public:
  /// Throws fovea::Error (usage) if ramp is not above 0.
  explicit ExpireMemory(double ramp);

  /// Drops what expired, then adds the next positions: k (B, Hkv, T, D), v (B, Hkv, T, Dv), spans (B, 1, T)
  /// as of ExpireSpanAttention::spans(). Throws fovea::Error (usage) where they do not fit each other or
  /// those before.
  void append(const at::Tensor& k, const at::Tensor& v, const at::Tensor& spans);

  /// What the attention gives of q (B, H, T, D), the queries of the last positions, over the whole sequence:
  /// (B, H, T, Dv).   O(T L D) time, L keys that live.
  at::Tensor attend(const at::Tensor& q) const;

  /// Keys that are kept, and all that came.
  int64_t size() const { return positions_.defined() ? positions_.size(0) : 0; }
  int64_t length() const { return length_; }

 private:
  void drop_expired();

  double ramp_;
  at::Tensor keys_, values_, spans_, positions_;
  int64_t length_ = 0;
};

}  // namespace fovea::nn
