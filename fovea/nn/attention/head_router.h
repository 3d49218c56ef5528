#pragma once
#include <cstdint>
#include <optional>

#include "fovea/nn/attention/engine.h"
#include "fovea/nn/attention/entry.h"
#include "fovea/nn/layers.h"

namespace fovea::nn {

struct HeadRouterOptions : EngineOptions {
  /// 2, or the heads where there are fewer, when left out.
  std::optional<int64_t> k;
  bool detach = true;

  template <class Visitor>
  static void fields(HeadRouterOptions& o, Visitor&& visit) {
    visit(OptionText{"k", "heads that a row chooses; 2, or 1 of one head, when left out"}, o.k, WholeFrom{1});
    visit(OptionText{"detach", "no gradient passes what weights of heads are divided by"}, o.detach);
    visit_scale(o, visit);
    visit_softcap(o, visit);
    visit_causal_order(o.causal, visit);
  }
};

/// Each row chooses k of the heads, a mixture of attention heads.
///   p_t = softmax(W x_t),   w_th = p_th / sum_{g in top k} p_tg where h is one of the k largest, else 0
///   out_th = w_th softmax_h
/// The layer `router` (E -> H) holds W. Of a head only the queries that chose it are computed: O(k / H) of
/// the work where heads are chosen alike; of each head as many rows as the most chosen has. Masks and biases
/// go with it, but neither segments nor blocks nor what depends on distances.
/// Source: Mixture of attention heads (Zhang et al. 2022), section 3.
class HeadRouterAttention : public EngineAttention {
 public:
  /// Throws fovea::Error (usage) if k is more than the heads.
  HeadRouterAttention(AttentionKind kind, const AttentionShape& shape, const HeadRouterOptions& options);
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;

  /// (B, N, H), w_th of rows x (B, N, E).
  at::Tensor weights(const at::Tensor& x) const;
  /// H sum_h f_h P_h, f_h the part of rows that chose head h, P_h the mean of p_th: k where heads are
  /// chosen alike.
  at::Tensor balance_loss(const at::Tensor& x) const;
  /// The mean of (log sum_h exp((W x_t)_h))^2, which keeps the logits small.
  at::Tensor z_loss(const at::Tensor& x) const;

  Linear router{nullptr};

 protected:
  AttentionOutput run(const AttentionInput& input) override;

 private:
  at::Tensor logits(const at::Tensor& x) const;
  void check_call(const AttentionCall& call) const;

  int64_t k_;
  bool detach_;
};

AttentionEntry head_router_attention();

}  // namespace fovea::nn
