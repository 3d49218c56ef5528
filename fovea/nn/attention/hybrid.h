#pragma once
#include "fovea/nn/attention/engine.h"
#include "fovea/nn/attention/entry.h"

namespace fovea::nn {

struct HybridOptions : EngineOptions {
  int64_t key_block = 64, query_block = 64, chosen = 8;

  template <class Visitor>
  static void fields(HybridOptions& o, Visitor&& visit) {
    visit(OptionText{"block_size", "keys in a block"}, o.key_block, WholeFrom{1});
    visit(OptionText{"query_block", "queries that choose together; 1: each for itself, as MoBA"},
          o.query_block, WholeFrom{1});
    visit(OptionText{"chosen", "blocks of keys that they choose, or all where there are no more"}, o.chosen,
          WholeFrom{1});
    visit_scale(o, visit);
    visit_softcap(o, visit);
    visit_causal_order(o.causal, visit);
    visit_normaliser(o, visit);
  }
};

/// A coarse choice, then fine attention: blocks of queries choose blocks of keys, and see the keys of those.
///   c_rb = scale q~_r . k~_b,  q~_r the mean of the queries of block r, k~_b of the keys of block b
///   out_i = softmax over the keys of the `chosen` blocks b of largest c_rb, r the block of i
/// In causal order q~_r is the first query of block r, as none may know a later one; no block behind r's
/// positions is chosen, and those that hold one of them always are, before any other. Keys behind their
/// length are in no mean, nor are queries, where there is one sequence; a block of none chooses none and is
/// not chosen. The choice is a constant, which no gradient passes: gradients are those of the fine attention.
/// Biases are added to its scores, and change no choice.   O(N W D) time, W = chosen block keys a query,
/// beside the choice's O(N M D / (query_block block_size)); O(N + M + N M / (query_block block_size)) memory.
/// Source: MoBA (Lu et al. 2025), 2.2; the selection of Native sparse attention (Yuan et al. 2025), 3.3.2.
class HybridAttention : public EngineAttention {
 public:
  HybridAttention(AttentionKind kind, const AttentionShape& shape, const HybridOptions& options);
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;

  /// The choice for an input that fits, boolean (B, H, ceil(N / query_block), ceil(M / block_size)).
  at::Tensor chosen_blocks(const AttentionInput& input) const;

 protected:
  void prepare(AttentionInput& input, AttendOptions& options) const override;
  /// Where all blocks are whole.
  int64_t pairs(int64_t n, int64_t m) const override;

 private:
  int64_t key_block_, query_block_, chosen_;
};

AttentionEntry hybrid_attention();

}  // namespace fovea::nn
