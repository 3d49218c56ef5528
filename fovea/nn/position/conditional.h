#pragma once
#include "fovea/nn/layers.h"
#include "fovea/nn/position/entry.h"

namespace fovea::nn {

struct ConditionalOptions {
  int64_t kernel = 3;

  template <class Visitor>
  static void fields(ConditionalOptions& o, Visitor&& visit) {
    visit(OptionText{"kernel", "side of the window, odd"}, o.kernel, WholeFrom{1});
  }
  /// Throws fovea::Error (usage) on an even kernel.
  void check(const std::string& where) const;
};

/// Positions that a depthwise convolution makes of the rows' neighbours, after the first layer (the position
/// encoding generator): zeros around the grid tell where its borders are.
///   x_t + conv(x)_t on the grid; tokens before it stay as they are
/// Parameters `proj.0.weight` (width, 1, kernel, kernel) and `proj.0.bias`, the authors' keys, torch's
/// initialisation. Away from the borders a shift of the input shifts the output. O(T width kernel^2).
/// Source: Conditional positional encodings for vision transformers (Chu et al. 2023), 3.2 and 3.3.
class ConditionalPosition : public Position {
 public:
  ConditionalPosition(PositionKind kind, const PositionShape& shape, const ConditionalOptions& options);

 protected:
  at::Tensor embed(const at::Tensor& x) override;

 private:
  Conv2d conv_{nullptr};
};

PositionEntry conditional_position();

}  // namespace fovea::nn
