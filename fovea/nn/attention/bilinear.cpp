#include "fovea/nn/attention/bilinear.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>

#include <cmath>
#include <utility>

namespace fovea::nn {

BilinearAttention::BilinearAttention(AttentionKind kind, const AttentionShape& shape,
                                     const BilinearOptions& options)
    : EngineAttention(std::move(kind), shape, options), rank_(options.rank) {
  const int64_t heads = shape.heads, size = shape.head_dim;
  const auto d = static_cast<double>(size);
  if (rank_ > size) {
    refuse("rank must be at most the head size", std::to_string(rank_) + " of " + std::to_string(size),
           "0 is the whole matrix.");
  }
  if (rank_ == 0) {
    W = register_parameter("W", (at::eye(size) / std::sqrt(d)).repeat({heads, 1, 1}));
    return;
  }
  // q U V^T k is a sum of D^2 r products of four.
  const double deviation = std::pow(d * d * static_cast<double>(rank_), -0.25);
  U = register_parameter("U", at::randn({heads, size, rank_}) * deviation);
  V = register_parameter("V", at::randn({heads, size, rank_}) * deviation);
}

// All on the queries: what a hidden key holds must not reach a parameter's gradient.
void BilinearAttention::prepare(AttentionInput& input, AttendOptions& options) const {
  const bool packed = input.call.packed.has_value();
  const at::Tensor q = packed ? input.q.transpose(0, 1) : input.q;
  const auto like_q = [&](const at::Tensor& t) { return t.to(q.scalar_type()); };
  const at::Tensor turned = W.defined() ? at::matmul(q, like_q(W))
                                        : at::matmul(at::matmul(q, like_q(U)), like_q(V).transpose(1, 2));
  input.q = packed ? turned.transpose(0, 1) : turned;
  options.scale = 1.0;
}

AttentionCost BilinearAttention::cost(int64_t n, int64_t m, int64_t d) const {
  AttentionCost cost = EngineAttention::cost(n, m, d);
  cost.multiply_adds += rank_ == 0 ? n * d * d : 2 * n * d * rank_;
  cost.bytes += n * d * kFloatBytes;
  return cost;
}

AttentionEntry bilinear_attention() {
  return attention_entry<BilinearAttention>(
      {"bilinear", "out_i = sum_j softmax_j(q_i W_h k_j) v_j",
       "Luong et al. 2015, 3.1 (general); low rank: Kim et al. 2017, Hadamard product, 2",
       "O(N M D + N D^2) time, O((N + M) D) memory", "decode, fused"},
      {}, BilinearOptions{});
}

}  // namespace fovea::nn
