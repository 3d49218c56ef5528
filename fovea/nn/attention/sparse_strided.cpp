#include "fovea/nn/attention/sparse_strided.h"

#include <algorithm>
#include <utility>

#include "fovea/core/ceil_div.h"
#include "fovea/nn/attention/attend_along.h"
#include "fovea/nn/attention/near_and_far.h"

namespace fovea::nn {
namespace {

struct StridedOptions : EngineOptions {
  int64_t stride = 128;

  template <class Visitor>
  static void fields(StridedOptions& o, Visitor&& visit) {
    visit(OptionText{"stride", "0 <= i - j <= stride, or stride divides i - j >= 0"}, o.stride, WholeFrom{1});
    visit_beside_pattern(o, visit);
  }
};

class StridedAttention : public NearAndFarAttention {
 public:
  StridedAttention(AttentionKind kind, const AttentionShape& shape, StridedOptions options)
      : NearAndFarAttention(std::move(kind), shape, options, options.stride) {}

 protected:
  std::shared_ptr<const AttendFunctors> functors() const override {
    const auto step = static_cast<int32_t>(stride());
    return bound_with(Causal() & (fovea::Window(step, 0) | Dilated(step)));
  }

  int64_t pairs(int64_t n, int64_t m) const override {
    int64_t count = 0;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t low = std::max<int64_t>(i - stride(), 0), last = std::min(i, m - 1);
      count += std::max<int64_t>(last - low + 1, 0) + count_steps(0, std::min(low - 1, last), i, stride());
    }
    return count;
  }

  AttendResult near(const AttentionInput& in, AttendOptions options) const override {
    options.window = AttendWindow{stride(), 0};
    return attend(in.q, in.k, in.v, options);
  }

  // Positions a stride apart are a column of a grid of that width; 0 and 1 rows back are near.
  AttendResult far(const AttentionInput& in, AttendOptions options) const override {
    const int64_t rows = ceil_div(in.q.size(2), stride());
    options.functors = bind(Identity{}, Causal(-2));
    return attend_along({{.rows = rows, .columns = stride()}, GridAxis::columns}, in, std::move(options));
  }
};

}  // namespace

AttentionEntry sparse_strided_attention() {
  return attention_entry<StridedAttention>(
      {"sparse_strided", "softmax over 0 <= i - j <= stride, or stride divides i - j >= 0",
       "Child et al. 2019, Generating long sequences with sparse transformers, 4.3",
       "O(N (stride + N / stride) D) time, O(N D) memory", "fused"},
      {.takes_relative_keys = true}, StridedOptions{});
}

}  // namespace fovea::nn
