#pragma once
#include "fovea/nn/position/entry.h"

namespace fovea::nn {

struct LearnedPositionOptions {
  std::optional<int64_t> max_len;

  template <class Visitor>
  static void fields(LearnedPositionOptions& o, Visitor&& visit) {
    visit(OptionText{"max_len", "rows of the table; those of the network's grid when left out, else 512"},
          o.max_len, WholeFrom{1});
  }
};

/// A learned vector for each position.   x_t + pos_embed_t
/// Parameter `pos_embed` (1, max_len, width), cut normal of deviation 0.02. More rows than max_len are
/// refused.   Source: Gehring et al. 2017, Convolutional sequence to sequence learning, 3.1; BERT (Devlin et
/// al. 2019), 3; ViT (Dosovitskiy et al. 2021), 3.1.
class LearnedPosition : public Position {
 public:
  LearnedPosition(PositionKind kind, const PositionShape& shape, const LearnedPositionOptions& options);

  at::Tensor pos_embed;

 protected:
  at::Tensor embed(const at::Tensor& x) override;
};

PositionEntry learned_position();

}  // namespace fovea::nn
