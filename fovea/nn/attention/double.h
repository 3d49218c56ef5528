#pragma once
#include <utility>

#include "fovea/nn/attention/attention.h"
#include "fovea/nn/attention/entry.h"

namespace fovea::nn {

struct DoubleOptions {
  template <class Visitor>
  static void fields(DoubleOptions&, Visitor&&) {}
};

/// Gathers the sequence into D descriptors, and hands each query its mixture of them.
///   g_d = sum_j softmax_j(k_jd) v_j   (gather, over positions)
///   out_i = sum_d softmax_d(q_id) g_d   (distribute, over descriptors)
/// Each channel of k is one attention map, each channel of q the demand for its descriptor. A key behind its
/// length gives nothing; without any key all is 0.   O((N + M) D^2) time, O((N + M) D) memory. Source:
/// A2-Nets: Double Attention Networks (Chen et al. 2018), 3.1 and 3.2.
class DoubleAttention : public Attention {
 public:
  DoubleAttention(AttentionKind kind, const AttentionShape& shape, const DoubleOptions&)
      : Attention(std::move(kind), shape) {}
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;

 protected:
  AttentionOutput run(const AttentionInput& input) override;
};

AttentionEntry double_attention();

}  // namespace fovea::nn
