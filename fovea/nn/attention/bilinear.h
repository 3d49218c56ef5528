#pragma once
#include "fovea/nn/attention/engine.h"
#include "fovea/nn/attention/entry.h"

namespace fovea::nn {

struct BilinearOptions : EngineOptions {
  int64_t rank = 0;

  template <class Visitor>
  static void fields(BilinearOptions& o, Visitor&& visit) {
    visit(OptionText{"rank", "W_h = U_h V_h^T with so many columns; 0: W_h whole"}, o.rank, WholeFrom{0});
    ScoreFreeOptions::fields(o, visit);
  }
};

/// s_ij = q_i W_h k_j
/// Parameter `W` (H, D, D), at the start 1 / sqrt(D) times the identity: the scaled dot product. With rank =
/// r, `U` and `V` (H, D, r), normal such that scores of random q and k have variance 1. O(N D^2) or O(N D r)
/// time beside the products.   Source: Luong et al. 2015, 3.1 (general); low rank: Kim et al. 2017, Hadamard
/// product for low-rank bilinear pooling, 2.
class BilinearAttention : public EngineAttention {
 public:
  BilinearAttention(AttentionKind kind, const AttentionShape& shape, const BilinearOptions& options);
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;

  at::Tensor W, U, V;

 protected:
  void prepare(AttentionInput& input, AttendOptions& options) const override;

 private:
  int64_t rank_;
};

AttentionEntry bilinear_attention();

}  // namespace fovea::nn
