#pragma once
#include "fovea/nn/position/entry.h"

namespace fovea::nn {

struct MusicOptions {
  int64_t max_distance = 128;
  bool bidirectional = true;

  template <class Visitor>
  static void fields(MusicOptions& o, Visitor&& visit) {
    visit(OptionText{"max_distance", "farther positions share the last vector"}, o.max_distance,
          WholeFrom{0});
    visit(OptionText{"bidirectional", "vectors for keys after a query too; false: the paper's, which add 0"},
          o.bidirectional);
  }
};

/// A learned key for each head and distance, by the skew: no tensor (N, M, D).
///   s_ij = scale q_i . (k_j + Er[h, j - i])
/// Parameter `Er` (H, 2 max_distance + 1, D) from distance -max_distance on, or (H, max_distance + 1, D) up
/// to distance 0; normal of deviation 1 / sqrt(D); each layer has its own. Of scaled dot products. O(H N
/// max_distance D + N M H) time, O(B H N (N + M)) memory.   Source: Music Transformer (Huang et al.
/// 2018), 3.4.1.
class MusicPosition : public Position {
 public:
  MusicPosition(PositionKind kind, const PositionShape& shape, const MusicOptions& options);

  at::Tensor Er;

 protected:
  void place(AttentionInput& input) const override;

 private:
  int64_t reach_;
};

PositionEntry music_position();

}  // namespace fovea::nn
