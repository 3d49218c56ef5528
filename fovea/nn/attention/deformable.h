#pragma once
#include <cstdint>

#include "fovea/nn/attention/attention.h"
#include "fovea/nn/attention/entry.h"
#include "fovea/nn/layers.h"
#include "fovea/ops/deformable_attend.h"

namespace fovea::nn {

struct DeformableOptions {
  static constexpr int64_t kMostPoints = 1024, kMostLevels = 32;

  int64_t points = 4, levels = 1;
  enum class Places { grid, sequence } places = Places::grid;

  template <class Visitor>
  static void fields(DeformableOptions& o, Visitor&& visit) {
    visit(OptionText{"points", "points a query reads on each level"}, o.points, WholeFrom{1});
    visit(OptionText{"levels", "maps: the values, and l times halved by means of 2 x 2 places"}, o.levels,
          WholeFrom{1});
    visit(OptionText{"places", "where queries and values lie"}, o.places,
          Choice<Places>{{"grid", Places::grid}, {"sequence", Places::sequence}});
  }
  /// Throws fovea::Error (usage) where there are more than maps of 2^31 places have use for.
  void check(const std::string& where) const;
};

/// Deformable attention of the places of a map to points around them.
///   out_i = sum_lp a_ilp v_l(centre_i + offset_ilp),   a_i = softmax(W_a x_i + b_a),   offset_i = W_o x_i +
///   b_o
/// v_l bilinear between places, 0 beyond the map; offsets in places. Keys are not read. A token before the
/// grid looks from the middle of the map, and is seen by none. Parameters `sampling_offsets` and
/// `attention_weights` over x; at the start offsets are the paper's star, or right and left along a sequence,
/// and weights equal. O(N L P (D + E)) time, O(N L P) memory.   Source: Deformable DETR (Zhu et al.
/// 2021), 4.1.
class DeformableAttention : public Attention {
 public:
  DeformableAttention(const AttentionKind& kind, const AttentionShape& shape,
                      const DeformableOptions& options);
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;
  bool runs_untrained() const override { return true; }

  Linear sampling_offsets{nullptr}, attention_weights{nullptr};

 protected:
  AttentionOutput run(const AttentionInput& input) override;

 private:
  DeformableOptions options_;
};

AttentionEntry deformable_attention();

}  // namespace fovea::nn
