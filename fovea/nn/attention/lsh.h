#pragma once
#include "fovea/nn/attention/engine.h"
#include "fovea/nn/attention/entry.h"

namespace fovea::nn {

struct LshOptions {
  int64_t buckets = 64, rounds = 4, chunk = 64, seed = 0;
  bool attend_across_buckets = false;
  double scale = 1.0;
  CausalAlignment causal = CausalAlignment::none;

  template <class Visitor>
  static void fields(LshOptions& o, Visitor&& visit) {
    visit(OptionText{"buckets", "that a round sorts positions into; even"}, o.buckets, WholeFrom{2});
    visit(OptionText{"rounds", "of hashing, whose results are merged"}, o.rounds, WholeFrom{1});
    visit(OptionText{"chunk", "sorted positions that see each other and the chunk before"}, o.chunk,
          WholeFrom{1});
    visit(OptionText{"seed", "of the random rotations"}, o.seed, WholeFrom{0});
    visit(OptionText{"attend_across_buckets", "keys of other buckets in the two chunks are seen too",
                     "as transformers and reformer-pytorch do"},
          o.attend_across_buckets);
    visit(OptionText{"scale", "s_ij = scale q_i . q_j / |q_j|"}, o.scale, AnyNumber{});
    visit_causal_order(o.causal, visit);
  }
  void check(const std::string& where) const;
};

/// Attention to keys that random rotations put into the bucket of the query. Queries are their own keys: k is
/// not read.
///   s_ij = scale q_i . q_j / |q_j|,   bucket_r(x) = argmax(x R_r, -x R_r)
///   out_i = sum_r exp(lse_ri - lse_i) softmax_j(s_ij) v_j over j != i of the bucket of i in round r, in the
///   chunk of i or the chunk before (the last, for the first) of positions sorted by bucket
/// lse_r are the log-sum-exp of a round, lse that of all: a key that several rounds find counts in each. A
/// query that sees nothing in any round gives its own value. Up to `chunk` positions, all see all, without
/// buckets. The rotations are normal, drawn of `seed` for each head once.   O(N rounds (chunk + buckets) D)
/// time, O(N rounds (D + buckets)) memory.   Source: Reformer (Kitaev et al. 2020), section 2.
class LshAttention : public Attention {
 public:
  LshAttention(AttentionKind kind, const AttentionShape& shape, const LshOptions& options);
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;
  CausalAlignment causal() const override { return options_.causal; }
  /// The same without buckets.
  std::string exact_form(int64_t n) const override;

  /// (H, D, rounds, buckets / 2), float32.
  at::Tensor rotations;

 protected:
  AttentionOutput run(const AttentionInput& input) override;

 private:
  /// out, and which queries see nothing, (B, H, N).
  struct Seen {
    at::Tensor out, blind;
  };
  CausalAlignment causal_of(const AttentionInput& input) const;
  Seen see_all(const AttentionInput& input, const at::Tensor& keys) const;
  Seen see_buckets(const AttentionInput& input, const at::Tensor& keys) const;

  LshOptions options_;
};

AttentionEntry lsh_attention();

}  // namespace fovea::nn
