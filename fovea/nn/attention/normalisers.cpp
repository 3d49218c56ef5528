#include "fovea/nn/attention/normalisers.h"

#include "fovea/nn/attention/engine.h"

namespace fovea::nn {
namespace {

constexpr const char *kSummed = "O(N M D) time, O(N + M) memory",
                     *kSorted = "O(N M (D + log M)) time, O(N M) memory";

// The normaliser is what makes the mechanism.
struct NormalisedOptions : EngineOptions {
  template <class Visitor>
  static void fields(EngineOptions& o, Visitor&& visit) {
    visit_scale(o, visit);
    visit_scores(o, visit);
    visit_causal(o, visit);
    visit_window(o, visit);
    if (o.normaliser == "sigmoid") visit_sigmoid_bias(o, visit);
  }
};

AttentionEntry with_normaliser(AttentionText text, const char* normaliser, const AttentionTraits& traits) {
  NormalisedOptions options;
  options.normaliser = normaliser;
  return attention_entry<EngineAttention>(std::move(text), traits, options);
}

}  // namespace

AttentionEntry softmax_sink_attention() {
  return with_normaliser(
      {"softmax_sink", "out_i = sum_j exp(s_ij) / (exp(sink_h) + sum_l exp(s_il)) v_j",
       "Miller 2023, Attention is off by one; learned: gpt-oss (OpenAI 2025)", kSummed, "fused"},
      "softmax_sink", {.takes_relative_keys = true});
}

AttentionEntry sigmoid_attention() {
  return with_normaliser({"sigmoid", "out_i = sum_j v_j / (1 + exp(-s_ij + log M))",
                          "Ramapuram et al. 2024, section 2", kSummed, "fused"},
                         "sigmoid", {.takes_relative_keys = true, .observes = false});
}

AttentionEntry sparsemax_attention() {
  return with_normaliser({"sparsemax", "out_i = sum_j max(s_ij - tau_i, 0) v_j, weights that sum to 1",
                          "Martins and Astudillo 2016, algorithm 1", kSorted, "composed"},
                         "sparsemax", {.takes_relative_keys = true, .observes = false});
}

}  // namespace fovea::nn
