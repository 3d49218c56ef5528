#pragma once
#include <memory>
#include <string>
#include <vector>

#include "fovea/nn/attention/entry.h"

namespace fovea::nn {

/// Every mechanism, in the order in which they are listed.
const std::vector<AttentionEntry>& attention_entries();

/// The entry of that name. Throws fovea::Error (usage), naming the nearest, when there is none.
const AttentionEntry& find_attention(const std::string& name);

/// A mechanism with its options, as users write it.
struct AttentionPlan {
  const AttentionEntry* entry;
  AttentionBuilder build;
};

/// What users write: NAME[:key=value,...], such as "longformer:window=128,global=2". Throws fovea::Error
/// (usage) on a name or key that there is not, naming the nearest, on a key given twice, and on values that
/// do not fit.
AttentionPlan parse_attention(const std::string& text);

}  // namespace fovea::nn
