#pragma once
#include <memory>
#include <string>
#include <vector>

#include "fovea/nn/block/unary.h"

namespace fovea::nn {

/// The blocks that fit into any convolutional network at the end of a residual branch, (B, C, H, W) -> same.
struct AttentionBlockEntry {
  /// As in `--attention-block`; also the submodule's name in state dicts.
  std::string name;
  std::string formula;
  std::string paper;
};

const std::vector<AttentionBlockEntry>& attention_block_entries();

/// Throws fovea::Error (usage), naming the nearest, unless `name` is `none` or one of the entries.
void check_attention_block(const std::string& name);

/// `reduction`: channels over hidden width of the gate. Null for `none`. Throws as check_attention_block().
std::shared_ptr<UnaryModule> make_attention_block(const std::string& name, int64_t channels,
                                                  int64_t reduction);

}  // namespace fovea::nn
