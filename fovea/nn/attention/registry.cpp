#include "fovea/nn/attention/registry.h"

#include "fovea/core/error.h"
#include "fovea/core/nearest.h"

namespace fovea::nn {
namespace {

constexpr const char* kLinearMemory = "O(N M D) time, O(N + M) memory";
constexpr const char* kSorted = "O(N M (D + log M)) time, O(N M) memory";
constexpr const char* kWindowed = "O(N W D) time, W keys a query, O(N + M) memory";

}  // namespace

const std::vector<MechanismEntry>& mechanism_entries() {
  static const std::vector<MechanismEntry> entries = {
      {"softmax", "out_i = sum_j softmax_j(q_i . k_j / sqrt(D)) v_j",
       "Vaswani et al. 2017, Attention is all you need, 3.2.1", kLinearMemory, "decode, fused", "", true},
      {"dot", "out_i = sum_j softmax_j(q_i . k_j) v_j", "Luong et al. 2015, Effective approaches, 3.1",
       kLinearMemory, "decode, fused", "scale=1"},
      {"additive", "out_i = sum_j softmax_j(sum_e w_e tanh(q_ie + k_je)) v_j", "Bahdanau et al. 2015, A.1.2",
       "O(N M D) time, a tanh a pair and hidden unit, O(N + M) memory", "fused"},
      {"softmax_sink", "out_i = sum_j exp(s_ij) / (exp(sink) + sum_l exp(s_il)) v_j",
       "Miller 2023, Attention is off by one", kLinearMemory, "fused", "normaliser=softmax_sink"},
      {"sigmoid", "out_i = sum_j v_j / (1 + exp(-s_ij + log M))", "Ramapuram et al. 2024, section 2",
       kLinearMemory, "fused", "normaliser=sigmoid"},
      {"sparsemax", "out_i = sum_j max(s_ij - tau_i, 0) v_j, weights that sum to 1",
       "Martins and Astudillo 2016, algorithm 1", kSorted, "composed", "normaliser=sparsemax"},
      {"entmax", "out_i = sum_j max(s_ij / 2 - tau_i, 0)^2 v_j, weights that sum to 1",
       "Peters et al. 2019, algorithm 2", kSorted, "composed", "normaliser=entmax15"},
      {"local", "softmax over |i - j| <= window", "Luong et al. 2015, 3.2 (local-m)", kWindowed, "fused",
       "window=10"},
      {"longformer", "softmax over |i - j| <= window, or one of both before global",
       "Beltagy et al. 2020, 3.1", kWindowed, "fused", "window=256,global=1"},
      {"sparse_strided", "softmax over 0 <= i - j <= stride, or stride divides i - j >= 0",
       "Child et al. 2019, Generating long sequences with sparse transformers, 4.3", kLinearMemory, "fused",
       "stride=128"},
  };
  return entries;
}

const MechanismEntry& find_mechanism(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& entry : mechanism_entries()) {
    if (entry.name == name) return entry;
    names.push_back(entry.name);
  }
  throw usage_error("attention", "the mechanism must be a known one", "'" + name + "'",
                    suggest_name(name, names, "`fovea list mechanisms` shows all."));
}

const std::vector<MechanismOption>& mechanism_options() {
  constexpr const char *kFree = "nothing beside the products",
                       *kPruned = "what it hides in whole tiles costs nothing";
  static const std::vector<MechanismOption> options = {
      {"scale", "a number", "s_ij = scale q_i . k_j; 1 / sqrt(D) when left out", "Vaswani et al. 2017, 3.2.1",
       kFree},
      {"softcap", "a number above 0", "c tanh(s_ij / c)", "Gemma 2 (Gemma Team 2024), section 2", kFree},
      {"alibi", "true, false", "s_ij - 2^(-8 (h + 1) / H) |i - j|", "ALiBi (Press et al. 2022), section 3",
       kFree},
      {"causal", "false, true, bottom_right", "j <= i; bottom_right: j <= i + M - N",
       "Vaswani et al. 2017, 3.2.3", kPruned},
      {"window", "a whole number", "i - window <= j <= i + window", "Longformer (Beltagy et al. 2020), 3.1",
       kPruned},
      {"window_left", "a whole number", "i - window_left <= j", "Longformer (Beltagy et al. 2020), 3.1",
       kPruned},
      {"window_right", "a whole number", "j <= i + window_right", "Longformer (Beltagy et al. 2020), 3.1",
       kPruned},
      {"dilation", "a whole number above 0", "dilation divides i - j",
       "Longformer (Beltagy et al. 2020), 3.1", "O(N M D) time within the window"},
      {"global", "a whole number", "or i < global or j < global, whatever window and dilation say",
       "Longformer (Beltagy et al. 2020), 3.1", kPruned},
      {"stride", "a whole number above 0", "0 <= i - j <= stride, or stride divides i - j >= 0",
       "Child et al. 2019, 4.3", "O(N M D) time"},
      {"block", "a whole number above 0",
       "pairs of the blocks of so many positions that block_mask lets attend",
       "BigBird (Zaheer et al. 2020), section 2", kPruned},
      {"normaliser", "softmax, softmax_sink, sigmoid, sparsemax, entmax15", "how scores become weights",
       "see the mechanisms of these names", "sparsemax and entmax15 run composed and sort"},
      {"sigmoid_bias", "a number", "weights 1 / (1 + exp(-s_ij - sigmoid_bias)); -log(M) when left out",
       "Ramapuram et al. 2024, section 2", kFree},
  };
  return options;
}

}  // namespace fovea::nn
