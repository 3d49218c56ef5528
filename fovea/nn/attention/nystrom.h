#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "fovea/nn/attention/attention.h"
#include "fovea/nn/attention/entry.h"
#include "fovea/nn/layers.h"

namespace fovea::nn {

struct NystromOptions {
  /// 64, or N where that is less, when left out.
  std::optional<int64_t> landmarks;
  int64_t iterations = 6, conv_kernel_size = 0;
  bool exact = false;

  template <class Visitor>
  static void fields(NystromOptions& o, Visitor&& visit) {
    visit(OptionText{"landmarks",
                     "segments whose means stand for the sequence; 64, or N if less, when left out"},
          o.landmarks, WholeFrom{1});
    visit(OptionText{"iterations", "steps towards the pseudo-inverse, equation 11"}, o.iterations,
          WholeFrom{1});
    visit(OptionText{"exact", "the pseudo-inverse by a singular value decomposition, without steps"},
          o.exact);
    visit(OptionText{"conv_kernel_size",
                     "positions that a convolution of each head's values adds to the result; odd, 0: none"},
          o.conv_kernel_size, WholeFrom{0});
  }
  void check(const std::string& where) const;
};

/// Softmax attention through landmarks, the means of segments of queries and of keys.
///   out = F A^+ (B v) + conv(v),   F = softmax(q k~^T / sqrt(D)), A = softmax(q~ k~^T / sqrt(D)),
///   B = softmax(q~ k^T / sqrt(D))
/// A^+ by Z <- Z (13 I - A Z (15 I - A Z (7 I - A Z))) / 4 from Z = A^T / (|A|_1 |A|_inf), of each head of
/// each batch entry by itself, in float32 at least. Where landmarks do not divide a sequence, its last
/// segments have a position more. With lengths, every batch entry is what it would be without its padding,
/// with a landmark for each position where it has fewer. Parameter `conv.weight` (H, 1, K, 1) with
/// conv_kernel_size = K. Throws fovea::Error (usage) where landmarks are asked for that the sequence has no
/// positions for.   O(N landmarks D + iterations landmarks^3) time, O(N) memory. Source: Nystromformer (Xiong
/// et al. 2021), 3.2, equations 11, 13 and 14, and figure 2.
class NystromAttention : public Attention {
 public:
  NystromAttention(AttentionKind kind, const AttentionShape& shape, const NystromOptions& options);
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;

  Conv2d conv{nullptr};

 protected:
  AttentionOutput run(const AttentionInput& input) override;

 private:
  /// Of a sequence of so many positions.
  int64_t landmark_count(int64_t length) const;
  at::Tensor landmarks(const at::Tensor& rows, const std::optional<at::Tensor>& lengths) const;
  at::Tensor inverse(const at::Tensor& a) const;
  at::Tensor convolved(const at::Tensor& v, const std::optional<at::Tensor>& lengths) const;

  NystromOptions options_;
};

AttentionEntry nystrom_attention();

}  // namespace fovea::nn
