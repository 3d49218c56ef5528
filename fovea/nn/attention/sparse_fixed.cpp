#include "fovea/nn/attention/sparse_fixed.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>

#include <algorithm>
#include <utility>

#include "fovea/core/ceil_div.h"
#include "fovea/core/error.h"
#include "fovea/mods/fixed_blocks.h"
#include "fovea/mods/gathered.h"
#include "fovea/nn/attention/attend_along.h"
#include "fovea/nn/attention/near_and_far.h"

namespace fovea::nn {
namespace {

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

class FixedAttention : public NearAndFarAttention {
 public:
  FixedAttention(AttentionKind kind, const AttentionShape& shape, FixedOptions options)
      : NearAndFarAttention(std::move(kind), shape, options, options.stride), summary_(options.summary) {}

 protected:
  std::shared_ptr<const AttendFunctors> functors() const override {
    return bound_with(FixedBlocks(static_cast<int32_t>(stride()), static_cast<int32_t>(summary_)));
  }

  int64_t pairs(int64_t n, int64_t m) const override {
    int64_t count = 0;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t block = i / stride() * stride(), before = std::min(block, m);
      count += std::max<int64_t>(std::min(i, m - 1) - block + 1, 0);
      count += before / stride() * summary_ + std::max<int64_t>(before % stride() - (stride() - summary_), 0);
    }
    return count;
  }

  // Blocks are the rows of a grid.
  AttendResult near(const AttentionInput& in, AttendOptions options) const override {
    const int64_t rows = ceil_div(in.q.size(2), stride());
    options.causal = CausalAlignment::top_left;
    return attend_along({{.rows = rows, .columns = stride()}, GridAxis::rows}, in, std::move(options));
  }

  // A query sees so many summaries as blocks before it have: keys up to the place that it stood at among
  // them.
  AttendResult far(const AttentionInput& in, AttendOptions options) const override {
    const int64_t length = in.q.size(2), blocks = length / stride();
    const auto summaries = [&](const at::Tensor& t) {
      const at::Tensor by_block = t.narrow(2, 0, blocks * stride()).unflatten(2, {blocks, stride()});
      return by_block.narrow(3, stride() - summary_, summary_).flatten(2, 3);
    };
    const at::Tensor places = at::arange(length, at::kInt).div_(stride(), "floor").mul_(summary_);
    options.functors = bind(Identity{}, Gathered(Causal(-1), int_table(places), 0, 0));
    if (options.key_lengths) {
      const at::Tensor known = options.key_lengths->to(at::kLong), whole = known.div(stride(), "floor");
      const at::Tensor seen =
          (known - whole * stride() - (stride() - summary_)).clamp_min(0) + whole * summary_;
      options.key_lengths = seen.clamp_max(blocks * summary_);
    }
    return attend(in.q, summaries(in.k), summaries(in.v), options);
  }

 private:
  int64_t summary_;
};

}  // namespace

AttentionEntry sparse_fixed_attention() {
  return attention_entry<FixedAttention>(
      {"sparse_fixed", "softmax over j <= i in i's block of stride, or at the last summary places of a block",
       "Child et al. 2019, Generating long sequences with sparse transformers, 4.3",
       "O(N (stride + N summary / stride) D) time, O(N D) memory", "fused"},
      {.takes_relative_keys = true}, FixedOptions{});
}

}  // namespace fovea::nn
