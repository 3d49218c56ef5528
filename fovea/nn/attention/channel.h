#pragma once
#include "fovea/nn/attention/attention.h"
#include "fovea/nn/attention/entry.h"

namespace fovea::nn {

/// Which sign of the products of channels becomes a weight.
enum class ChannelScore { code, paper };

struct ChannelOptions {
  ChannelScore score = ChannelScore::code;

  template <class Visitor>
  static void fields(ChannelOptions& o, Visitor&& visit) {
    visit(OptionText{"score",
                     "code: softmax_j(max_j E_cj - E_cj), as in the authors' code; paper: softmax_j(E_cj)"},
          o.score, Choice<ChannelScore>{{"code", ChannelScore::code}, {"paper", ChannelScore::paper}});
  }
};

/// Channels of a head attend to each other, by their products over all positions.
///   E = q^T k (D, D)   out_nc = sum_j softmax_j(+-E_cj) v_nj
/// The sign is a plus in the paper and a minus in the authors' code, which trained the published networks.
/// Positions behind a length of keys neither give nor get anything: 0. Values have as many channels as keys.
/// O(N D^2) time, O(D^2) memory.   Source: Dual Attention Network (Fu et al. 2019), 3.3, equation 3;
/// CAM_Module of its code.
class ChannelAttention : public Attention {
 public:
  ChannelAttention(AttentionKind kind, const AttentionShape& shape, const ChannelOptions& options);
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;

 protected:
  AttentionOutput run(const AttentionInput& input) override;

 private:
  ChannelScore score_;
};

AttentionEntry channel_attention();

}  // namespace fovea::nn
