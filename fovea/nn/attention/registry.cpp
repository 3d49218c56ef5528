#include "fovea/nn/attention/registry.h"

#include "fovea/core/nearest.h"
#include "fovea/nn/attention/adaptive_span.h"
#include "fovea/nn/attention/additive.h"
#include "fovea/nn/attention/axial.h"
#include "fovea/nn/attention/bigbird.h"
#include "fovea/nn/attention/bilinear.h"
#include "fovea/nn/attention/channel.h"
#include "fovea/nn/attention/conv_augmented.h"
#include "fovea/nn/attention/cosine.h"
#include "fovea/nn/attention/deformable.h"
#include "fovea/nn/attention/double.h"
#include "fovea/nn/attention/efficient.h"
#include "fovea/nn/attention/entmax.h"
#include "fovea/nn/attention/expire_span.h"
#include "fovea/nn/attention/forgetting.h"
#include "fovea/nn/attention/gaussian.h"
#include "fovea/nn/attention/hard.h"
#include "fovea/nn/attention/head_gate.h"
#include "fovea/nn/attention/head_router.h"
#include "fovea/nn/attention/hierarchical.h"
#include "fovea/nn/attention/hybrid.h"
#include "fovea/nn/attention/linear.h"
#include "fovea/nn/attention/linformer.h"
#include "fovea/nn/attention/local.h"
#include "fovea/nn/attention/local_p.h"
#include "fovea/nn/attention/longformer.h"
#include "fovea/nn/attention/lsh.h"
#include "fovea/nn/attention/memory.h"
#include "fovea/nn/attention/normalisers.h"
#include "fovea/nn/attention/nystrom.h"
#include "fovea/nn/attention/performer.h"
#include "fovea/nn/attention/position.h"
#include "fovea/nn/attention/scaled_dot.h"
#include "fovea/nn/attention/sparse_fixed.h"
#include "fovea/nn/attention/sparse_strided.h"
#include "fovea/nn/attention/token_span.h"

namespace fovea::nn {

const std::vector<AttentionEntry>& attention_entries() {
  static const std::vector<AttentionEntry> entries = {softmax_attention(),        dot_attention(),
                                                      cosine_attention(),         additive_attention(),
                                                      bilinear_attention(),       gaussian_attention(),
                                                      softmax_sink_attention(),   sigmoid_attention(),
                                                      sparsemax_attention(),      entmax_attention(),
                                                      local_attention(),          local_p_attention(),
                                                      longformer_attention(),     sparse_strided_attention(),
                                                      sparse_fixed_attention(),   bigbird_attention(),
                                                      hard_attention(),           hybrid_attention(),
                                                      hierarchical_attention(),   lsh_attention(),
                                                      linear_attention(),         performer_attention(),
                                                      efficient_attention(),      nystrom_attention(),
                                                      linformer_attention(),      forgetting_attention(),
                                                      expire_span_attention(),    adaptive_span_attention(),
                                                      token_span_attention(),     head_gate_attention(),
                                                      head_router_attention(),    memory_attention(),
                                                      axial_attention(),          channel_attention(),
                                                      position_attention(),       double_attention(),
                                                      conv_augmented_attention(), deformable_attention()};
  return entries;
}

const AttentionEntry& find_attention(const std::string& name) {
  return find_named(
      attention_entries(), name,
      {"attention", "the mechanism must be a known one",
       "`fovea list mechanisms` shows all; options stand behind a colon, as in local:window=8."});
}

AttentionPlan parse_attention(const std::string& text) {
  const auto [name, settings] = split_name(text);
  const AttentionEntry& entry = find_attention(name);
  return {&entry, entry.read(split_settings(entry.name, settings))};
}

}  // namespace fovea::nn
