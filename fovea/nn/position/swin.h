#pragma once
#include "fovea/nn/position/entry.h"

namespace fovea::nn {

struct SwinOptions {
  template <class Visitor>
  static void fields(SwinOptions&, Visitor&&) {}
};

/// A learned number for each head and difference of rows and columns.
///   s_ij + relative_position_bias_table[(y_i - y_j + rows - 1)(2 columns - 1) + x_i - x_j + columns - 1, h]
/// Parameter `relative_position_bias_table` ((2 rows - 1)(2 columns - 1), H), the authors' key, cut normal of
/// deviation 0.02; each layer has its own. Tokens before the grid have 0 with all, and then the biases are
/// a tensor (H, T, T); without them nothing is O(T^2).   Source: Swin Transformer (Liu et al. 2021), 3.2.
class SwinPosition : public Position {
 public:
  SwinPosition(PositionKind kind, const PositionShape& shape, const SwinOptions&);

  at::Tensor relative_position_bias_table;

 protected:
  void place(AttentionInput& input) const override;

 private:
  /// (H, T, T)
  at::Tensor of_pairs() const;
};

PositionEntry swin_position();

}  // namespace fovea::nn
