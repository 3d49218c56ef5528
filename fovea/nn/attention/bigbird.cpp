#include "fovea/nn/attention/bigbird.h"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "fovea/core/ceil_div.h"
#include "fovea/core/error.h"

namespace fovea::nn {

void BigBirdOptions::check(const std::string& where) const {
  EngineOptions::check(where);
  if (pattern.window % 2 == 0) {
    throw usage_error(where, "window must be an odd number of blocks", std::to_string(pattern.window),
                      "A block sees as many on either side.");
  }
}

BigBirdAttention::BigBirdAttention(AttentionKind kind, const AttentionShape& shape,
                                   const BigBirdOptions& options)
    : EngineAttention(std::move(kind), shape, options), pattern_(options.pattern) {
  pattern_.seed = static_cast<uint64_t>(options.seed);
}

void BigBirdAttention::prepare(AttentionInput& input, AttendOptions& options) const {
  if (options.blocks) {
    refuse("its blocks are its own", "a mask of blocks", "Choose softmax for a mask of your own.");
  }
  if (input.q.is_meta()) return;  // shapes alone
  options.blocks = bigbird_blocks(input.q.size(2), shape().heads, pattern_);
  options.blocks->mask = options.blocks->mask.to(input.q.device());
}

// Of the first head; the others see as many.
int64_t BigBirdAttention::pairs(int64_t n, int64_t) const {
  const int64_t size = pattern_.size, count = ceil_div(n, size);
  const std::vector<char> seen = bigbird_pairs(n, 1, pattern_);
  const auto length = [&](int64_t block) { return std::min(size, n - block * size); };
  int64_t pairs = 0;
  for (int64_t row = 0; row < count; ++row) {
    for (int64_t column = 0; column < count; ++column) {
      if (seen[row * count + column]) pairs += length(row) * length(column);
    }
  }
  return pairs;
}

AttentionCost BigBirdAttention::cost(int64_t n, int64_t m, int64_t d) const {
  AttentionCost cost = EngineAttention::cost(n, m, d);
  const int64_t blocks = ceil_div(n, pattern_.size);
  cost.bytes += blocks * blocks;
  return cost;
}

AttentionEntry bigbird_attention() {
  return attention_entry<BigBirdAttention>(
      {"bigbird", "softmax over blocks of keys: near ones, global ones, some at random",
       "Zaheer et al. 2020, BigBird, section 2",
       "O(N W D) time, W keys in the blocks of a query, O(N + (N / block_size)^2) memory", "fused"},
      {.supports_cross = false, .takes_relative_keys = true, .takes_packed = false}, BigBirdOptions{});
}

}  // namespace fovea::nn
