#include "fovea/nn/attention/registry.h"

#include "fovea/core/error.h"
#include "fovea/core/nearest.h"
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
#include "fovea/nn/attention/gaussian.h"
#include "fovea/nn/attention/linear.h"
#include "fovea/nn/attention/local.h"
#include "fovea/nn/attention/local_p.h"
#include "fovea/nn/attention/longformer.h"
#include "fovea/nn/attention/normalisers.h"
#include "fovea/nn/attention/performer.h"
#include "fovea/nn/attention/position.h"
#include "fovea/nn/attention/scaled_dot.h"
#include "fovea/nn/attention/sparse.h"

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
                                                      axial_attention(),          channel_attention(),
                                                      position_attention(),       double_attention(),
                                                      conv_augmented_attention(), deformable_attention(),
                                                      linear_attention(),         performer_attention(),
                                                      efficient_attention()};
  return entries;
}

const AttentionEntry& find_attention(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& entry : attention_entries()) {
    if (entry.name == name) return entry;
    names.push_back(entry.name);
  }
  throw usage_error("attention", "the mechanism must be a known one", "'" + name + "'",
                    suggest_name(name, names, "`fovea list mechanisms` shows all."));
}

AttentionPlan parse_attention(const std::string& text) {
  const auto colon = text.find(':');
  const AttentionEntry& entry = find_attention(text.substr(0, colon));
  const std::string settings = colon == std::string::npos ? "" : text.substr(colon + 1);
  return {&entry, entry.read(split_settings(entry.name, settings))};
}

}  // namespace fovea::nn
