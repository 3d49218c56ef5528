#pragma once
#include "fovea/nn/attention/engine.h"
#include "fovea/nn/attention/entry.h"
#include "fovea/ops/bigbird.h"

namespace fovea::nn {

struct BigBirdOptions : EngineOptions {
  BigBird pattern;
  int64_t seed = 0;

  template <class Visitor>
  static void fields(BigBirdOptions& o, Visitor&& visit) {
    visit(OptionText{"block_size", "positions in a block"}, o.pattern.size, WholeFrom{1});
    visit(OptionText{"window", "blocks that a block sees around itself, itself too: an odd number"},
          o.pattern.window, WholeFrom{1});
    visit(OptionText{"first_globals", "blocks at the start that see all and are seen by all"},
          o.pattern.first_globals, WholeFrom{0});
    visit(OptionText{"last_globals", "the same at the end"}, o.pattern.last_globals, WholeFrom{0});
    visit(OptionText{"random", "blocks chosen at random for each block and head"}, o.pattern.random,
          WholeFrom{0});
    visit(OptionText{"seed", "of that choice"}, o.seed, WholeFrom{0});
    visit_scale(o, visit);
    visit_scores(o, visit);
    visit_causal_order(o.causal, visit);
    visit_normaliser(o, visit);
  }
  void check(const std::string& where) const;
};

/// Blocks of positions that see their neighbours, global blocks and some at random, by bigbird_blocks(). Of
/// one sequence.   Source: BigBird (Zaheer et al. 2020), section 2.
class BigBirdAttention : public EngineAttention {
 public:
  BigBirdAttention(AttentionKind kind, const AttentionShape& shape, const BigBirdOptions& options);
  /// With a byte for each pair of blocks.
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;

 protected:
  void prepare(AttentionInput& input, AttendOptions& options) const override;
  int64_t pairs(int64_t n, int64_t m) const override;

 private:
  BigBird pattern_;
};

AttentionEntry bigbird_attention();

}  // namespace fovea::nn
