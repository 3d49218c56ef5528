#pragma once
#include <cstdint>
#include <optional>

#include "fovea/nn/attention/attention.h"
#include "fovea/nn/attention/entry.h"
#include "fovea/nn/attention/options.h"

namespace fovea::nn {

struct HierarchicalOptions {
  int64_t segment = 16;
  std::optional<double> scale;

  template <class Visitor>
  static void fields(HierarchicalOptions& o, Visitor&& visit) {
    visit(OptionText{"segment", "keys of a sentence"}, o.segment, WholeFrom{1});
    visit(OptionText{"scale", "s_ij = scale q_i . k_j; 1 / sqrt(D) when left out",
                     "Vaswani et al. 2017, 3.2.1"},
          o.scale, AnyNumber{});
  }
};

/// Attention in two levels: over the keys of each segment of the sequence, then over the segments.
///   a_ij = softmax of s_ij = scale q_i . k_j over the keys j of segment t
///   k_it = sum_j a_ij k_j,   v_it = sum_j a_ij v_j
///   out_i = sum_t softmax_t(scale q_i . k_it) v_it
/// Segments are `segment` keys each, the last what is left. One segment is softmax attention, and so are
/// segments of one key; between them a segment counts by its attended key and not by its length. No causal
/// order, masks or weights. O(N M D) time, O(N D M / segment) memory.   Source: Hierarchical attention
/// networks (Yang et al. 2016), 2.2, whose two levels of queries are one here; HierarchicalAttention has the
/// paper's network.
class HierarchicalKeys : public Attention {
 public:
  HierarchicalKeys(AttentionKind kind, const AttentionShape& shape, const HierarchicalOptions& options);
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;

 protected:
  AttentionOutput run(const AttentionInput& input) override;

 private:
  int64_t segments(int64_t keys) const;

  HierarchicalOptions options_;
};

AttentionEntry hierarchical_attention();

}  // namespace fovea::nn
