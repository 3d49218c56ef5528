#include "fovea/nn/attention/sparse.h"

#include <algorithm>
#include <utility>

#include "fovea/core/error.h"
#include "fovea/mods/fixed_blocks.h"
#include "fovea/nn/attention/engine.h"

namespace fovea::nn {
namespace {

template <class Visitor>
void visit_beside_pattern(EngineOptions& o, Visitor& visit) {
  visit_scale(o, visit);
  visit_scores(o, visit);
  visit_causal(o, visit);
  visit_normaliser(o, visit);
}

struct StridedOptions : EngineOptions {
  int64_t stride = 128;

  template <class Visitor>
  static void fields(StridedOptions& o, Visitor&& visit) {
    visit(OptionText{"stride", "0 <= i - j <= stride, or stride divides i - j >= 0"}, o.stride, WholeFrom{1});
    visit_beside_pattern(o, visit);
  }
};

class StridedAttention : public EngineAttention {
 public:
  StridedAttention(AttentionKind kind, const AttentionShape& shape, StridedOptions options)
      : EngineAttention(std::move(kind), shape, options), stride_(options.stride) {}

  CausalAlignment causal() const override { return CausalAlignment::top_left; }

 protected:
  std::shared_ptr<const AttendFunctors> functors() const override {
    const auto stride = static_cast<int32_t>(stride_);
    return bound_with(Causal() & (fovea::Window(stride, 0) | Dilated(stride)));
  }

  int64_t pairs(int64_t n, int64_t m) const override {
    int64_t count = 0;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t low = std::max<int64_t>(i - stride_, 0), last = std::min(i, m - 1);
      count += std::max<int64_t>(last - low + 1, 0) + count_steps(0, std::min(low - 1, last), i, stride_);
    }
    return count;
  }

 private:
  int64_t stride_;
};

struct FixedOptions : EngineOptions {
  int64_t stride = 128, summary = 8;

  template <class Visitor>
  static void fields(FixedOptions& o, Visitor&& visit) {
    visit(OptionText{"stride", "positions in a block"}, o.stride, WholeFrom{1});
    visit(OptionText{"summary", "positions at the end of a block that all later ones see"}, o.summary,
          WholeFrom{1});
    visit_beside_pattern(o, visit);
  }
  void check(const std::string& where) const {
    EngineOptions::check(where);
    if (summary > stride) {
      throw usage_error(where, "summary must be at most stride",
                        std::to_string(summary) + " of " + std::to_string(stride), "Choose fewer.");
    }
  }
};

class FixedAttention : public EngineAttention {
 public:
  FixedAttention(AttentionKind kind, const AttentionShape& shape, FixedOptions options)
      : EngineAttention(std::move(kind), shape, options),
        stride_(options.stride),
        summary_(options.summary) {}

  CausalAlignment causal() const override { return CausalAlignment::top_left; }

 protected:
  std::shared_ptr<const AttendFunctors> functors() const override {
    return bound_with(FixedBlocks(static_cast<int32_t>(stride_), static_cast<int32_t>(summary_)));
  }

  int64_t pairs(int64_t n, int64_t m) const override {
    int64_t count = 0;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t block = i / stride_ * stride_, before = std::min(block, m);
      count += std::max<int64_t>(std::min(i, m - 1) - block + 1, 0);
      count += before / stride_ * summary_ + std::max<int64_t>(before % stride_ - (stride_ - summary_), 0);
    }
    return count;
  }

 private:
  int64_t stride_, summary_;
};

constexpr const char* kPatternPaper =
    "Child et al. 2019, Generating long sequences with sparse transformers, 4.3";

}  // namespace

AttentionEntry sparse_strided_attention() {
  return attention_entry<StridedAttention>(
      {"sparse_strided", "softmax over 0 <= i - j <= stride, or stride divides i - j >= 0", kPatternPaper,
       "O(N (stride + N / stride) D) pairs; the kernel walks what no tile hides whole, O(N + M) memory",
       "fused"},
      {.takes_relative_keys = true}, StridedOptions{});
}

AttentionEntry sparse_fixed_attention() {
  return attention_entry<FixedAttention>(
      {"sparse_fixed", "softmax over j <= i in i's block of stride, or at the last summary places of a block",
       kPatternPaper,
       "O(N (stride + N summary / stride) D) pairs; the kernel walks what no tile hides whole, O(N + M) "
       "memory",
       "fused"},
      {.takes_relative_keys = true}, FixedOptions{});
}

}  // namespace fovea::nn
