#pragma once
#include "fovea/nn/attention/engine.h"
#include "fovea/nn/attention/entry.h"
#include "fovea/nn/layers.h"

namespace fovea::nn {

struct LongformerOptions : EngineOptions {
  bool global_projections = false;

  LongformerOptions() {
    window = 256;
    global = 1;
  }
  template <class Visitor>
  static void fields(LongformerOptions& o, Visitor&& visit) {
    visit(OptionText{"global_projections",
                     "what global positions see is projected from x by layers of their own"},
          o.global_projections);
    DotOptions::fields(o, visit);
  }
};

/// A window, dilated if wanted, and positions at the start that see all and are seen by all.
///   out_i = softmax over |i - j| <= window and j < global; of i < global over all j
/// With global_projections, queries, keys and values of the rows i < global come from x (keys and values from
/// context where there is one) by layers `query_global`, `key_global`, `value_global` (E -> H D), as HF names
/// them; then neither a bottom right causal order nor blocks, grids and observations.
/// Source: Longformer (Beltagy et al. 2020), 3.1.
class LongformerAttention : public EngineAttention {
 public:
  LongformerAttention(AttentionKind kind, const AttentionShape& shape, const LongformerOptions& options);
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;

  Linear query_global{nullptr}, key_global{nullptr}, value_global{nullptr};

 protected:
  AttentionOutput run(const AttentionInput& input) override;

 private:
  AttendResult attend_globals(const AttentionInput& input, int64_t count);
};

AttentionEntry longformer_attention();

}  // namespace fovea::nn
