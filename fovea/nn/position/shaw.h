#pragma once
#include "fovea/nn/position/entry.h"

namespace fovea::nn {

struct ShawOptions {
  int64_t max_distance = 16;
  bool values = true;

  template <class Visitor>
  static void fields(ShawOptions& o, Visitor&& visit) {
    visit(OptionText{"max_distance", "k of the paper: farther positions share the last vector"},
          o.max_distance, WholeFrom{0});
    visit(OptionText{"values", "relative values too; section 4.3 of the paper finds that keys do alone"},
          o.values);
  }
};

/// Learned keys and values for each clipped distance, shared by the heads.
///   s_ij = scale q_i . (k_j + w_K[clip(j - i)]), out_i = sum_j weights_ij (v_j + w_V[clip(j - i)])
/// Parameters `w_K` (2 max_distance + 1, D) and, with values, `w_V` (2 max_distance + 1, Dv), normal of
/// deviation 1 / sqrt(D); each layer has its own. Of scaled dot products. The values need the weights, in
/// O(B H N M) memory.   Source: Self-attention with relative position representations (Shaw et al. 2018), 3.1
/// to 3.3.
class ShawPosition : public Position {
 public:
  ShawPosition(PositionKind kind, const PositionShape& shape, const ShawOptions& options);

  at::Tensor w_K, w_V;

 protected:
  void place(AttentionInput& input) const override;
  AttentionOutput run(Attention& attention, AttentionInput input) override;

 private:
  /// (B, H, N, M) -> (B, H, N, 2 max_distance + 1), sums over the keys of each clipped distance.
  at::Tensor by_distance(const at::Tensor& weights) const;

  int64_t reach_;
};

PositionEntry shaw_position();

}  // namespace fovea::nn
