#pragma once
#include "fovea/nn/attention/engine.h"
#include "fovea/nn/attention/entry.h"

namespace fovea::nn {

/// What the hops over a memory share: each reads as keys what the one before it read as values; or all read
/// the same, and a linear map stands between them.   Source: Sukhbaatar et al. 2015, 2.2.
enum class MemoryTying { adjacent, layer_wise };

struct MemoryOptions : EngineOptions {
  int64_t hops = 3;
  MemoryTying tying = MemoryTying::adjacent;
  std::optional<int64_t> size;
  bool temporal = false;

  MemoryOptions() { scale = 1.0; }

  template <class Visitor>
  static void fields(MemoryOptions& o, Visitor&& visit) {
    visit(OptionText{"hops", "how often the memory is read, 1000 times at most"}, o.hops, WholeFrom{1});
    visit(
        OptionText{"tying", "what hops share: adjacent, m of a hop is c of the one before; layer_wise, all"},
        o.tying,
        Choice<MemoryTying>{{"adjacent", MemoryTying::adjacent}, {"layer_wise", MemoryTying::layer_wise}});
    visit(OptionText{"size", "so many of the newest memories are kept, all when left out"}, o.size,
          WholeFrom{1});
    visit(OptionText{"temporal", "rows learned for each age, of which there are size, are added to memories",
                     "Sukhbaatar et al. 2015, 4.1"},
          o.temporal);
    visit_scale(o, visit);
    visit_softcap(o, visit);
    visit_causal_order(o.causal, visit);
  }
  /// Throws fovea::Error (usage) on too many hops, on temporal without size, and on size in causal order.
  void check(const std::string& where) const;
};

/// A memory that is read in hops: what one reads is added to the question that the next asks.
///   u^1 = q,  p^k = softmax(u^k . m^k_j),  o^k = sum_j p^k_j c^k_j,  out = u^(K+1)
///   adjacent     u^(k+1) = u^k + o^k    m^1 = keys, c^1 = values, m^(k+1) = c^k, c^k = C_k values
///   layer_wise   u^(k+1) = H u^k + o^k  m = keys, c = values
/// of each head, D = Dv. Parameters `C` (H, K - 1, D, D) of hops 2 to K, or `H` (H, D, D), the identity at
/// the start; with temporal `T_A` and `T_C` (Hkv, size, D), 0 at the start: row s is added to the key and to
/// the value that s others are newer than. Newer is what stands later, up to the call's length. Maps act on
/// queries and on what was read, so that no memory is copied for a hop; with size, size rows are. A query
/// that sees no key gives 0, whatever it is. Weights and observations are those of the last hop. With size
/// neither causal order, nor masks, biases and observations. Throws fovea::Error (usage) on a memory of no
/// keys. O(K N M D + K N D^2) time; M is at most size. Source: End-to-end memory networks (Sukhbaatar et al.
/// 2015), 2.1 and 2.2; embeddings of a hop's own, which are of sentences, are MemoryNetwork's.
class MemoryAttention : public EngineAttention {
 public:
  MemoryAttention(AttentionKind kind, const AttentionShape& shape, const MemoryOptions& options);
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;
  bool runs_untrained() const override { return true; }

  at::Tensor C, H, T_A, T_C;

 protected:
  AttentionOutput run(const AttentionInput& input) override;

 private:
  void check_memory(const AttentionInput& input) const;
  /// The rows of `t` that stand there, and the table's.
  at::Tensor memories(const at::Tensor& t, const at::Tensor& newest, const at::Tensor& table) const;
  AttentionOutput read(const AttentionInput& input) const;

  int64_t hops_;
  std::optional<int64_t> size_;
};

AttentionEntry memory_attention();

}  // namespace fovea::nn
