#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fovea/nn/block/unary.h"

namespace fovea::nn {

/// A block that fits into any convolutional network at the end of a residual branch, (B, C, H, W) -> same.
struct AttentionBlockEntry {
  /// As in `--attention-block`; also the submodule's name in state dicts.
  std::string name;
  std::string formula;
  std::string paper;
  /// `reduction` is channels over hidden width; a block without a hidden layer leaves it aside.
  std::function<std::shared_ptr<UnaryModule>(int64_t channels, int64_t reduction)> make;
};

/// One row a block: all that the command line, the networks and `fovea list blocks` know of it.
const std::vector<AttentionBlockEntry>& attention_block_entries();

/// What `--attention-block` takes: `none` and the names of the entries.
std::vector<std::string> attention_block_names();

/// Throws fovea::Error (usage), naming the nearest, unless `name` is one of attention_block_names().
void check_attention_block(const std::string& name);

/// The block of that name, see AttentionBlockEntry::make. Null for `none`. Throws as check_attention_block().
std::shared_ptr<UnaryModule> make_attention_block(const std::string& name, int64_t channels,
                                                  int64_t reduction);

}  // namespace fovea::nn
