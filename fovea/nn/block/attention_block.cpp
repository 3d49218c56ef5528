#include "fovea/nn/block/attention_block.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "fovea/core/error.h"
#include "fovea/core/nearest.h"
#include "fovea/nn/block/cbam.h"
#include "fovea/nn/block/se.h"

namespace fovea::nn {

const std::vector<AttentionBlockEntry>& attention_block_entries() {
  static const std::vector<AttentionBlockEntry> entries = {
      {"se", "x * sigmoid(fc2(relu(fc1(mean_hw x))))", "Hu et al. 2018, Squeeze-and-excitation networks",
       [](int64_t channels, int64_t reduction) {
         return std::make_shared<SqueezeExciteImpl>(channels, se_reduced_width(channels, reduction));
       }},
      {"cbam", "channel gate of mean and max over places, then 7x7 gate of max and mean over channels",
       "Woo et al. 2018, CBAM: Convolutional block attention module",
       [](int64_t channels, int64_t reduction) { return std::make_shared<CbamImpl>(channels, reduction); }},
  };
  return entries;
}

std::vector<std::string> attention_block_names() {
  std::vector<std::string> names = {"none"};
  for (const auto& entry : attention_block_entries()) names.push_back(entry.name);
  return names;
}

void check_attention_block(const std::string& name) {
  const auto names = attention_block_names();
  if (std::find(names.begin(), names.end(), name) != names.end()) return;
  throw usage_error("attention_block",
                    fmt::format("must be one of {}; found '{}'. {}", fmt::join(names, ", "), name,
                                suggest_name(name, names, "Choose one of these.")));
}

std::shared_ptr<UnaryModule> make_attention_block(const std::string& name, int64_t channels,
                                                  int64_t reduction) {
  check_attention_block(name);
  for (const auto& entry : attention_block_entries()) {
    if (entry.name == name) return entry.make(channels, reduction);
  }
  return nullptr;
}

}  // namespace fovea::nn
