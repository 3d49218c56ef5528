#pragma once
#include "fovea/nn/attention/attention.h"
#include "fovea/nn/attention/entry.h"

namespace fovea::nn {

/// What one matrix projects, of those that a layer may share.
enum class LinformerSharing { none, headwise, key_value };

struct LinformerOptions {
  int64_t length = 512, rank = 256;
  LinformerSharing sharing = LinformerSharing::headwise;

  template <class Visitor>
  static void fields(LinformerOptions& o, Visitor&& visit) {
    visit(OptionText{"length", "keys that there may be at most"}, o.length, WholeFrom{1});
    visit(OptionText{"rank", "rows that keys and values are projected to; k in the paper"}, o.rank,
          WholeFrom{1});
    visit(OptionText{"sharing", "one E and one F for all heads, one E for all and both, or none shared"},
          o.sharing,
          Choice<LinformerSharing>{{"headwise", LinformerSharing::headwise},
                                   {"key_value", LinformerSharing::key_value},
                                   {"none", LinformerSharing::none}});
  }
  void check(const std::string& where) const;
};

/// Softmax attention to `rank` combinations of the keys.
///   out = softmax(q (E^T k)^T / sqrt(D)) (F^T v)
/// Parameters `E` and `F` (length, rank), with sharing=none (Hkv, length, rank), with sharing=key_value `E`
/// alone for both; normal of deviation 1 / sqrt(length), so that as many rows keep their variance. M keys, M
/// <= length, use the first M rows; hidden keys and their values count as 0. O((N + M) rank D) time, O(rank
/// D) memory.   Source: Linformer (Wang et al. 2020), section 4, equation 7 and the paragraph on sharing.
class LinformerAttention : public Attention {
 public:
  LinformerAttention(AttentionKind kind, const AttentionShape& shape, const LinformerOptions& options);
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;

  at::Tensor E, F;

 protected:
  AttentionOutput run(const AttentionInput& input) override;

 private:
  LinformerOptions options_;
};

AttentionEntry linformer_attention();

}  // namespace fovea::nn
