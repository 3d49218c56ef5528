#include "fovea/nn/attention/sparse.h"

#include <algorithm>
#include <utility>

#include "fovea/nn/attention/engine.h"

namespace fovea::nn {
namespace {

struct StridedOptions : EngineOptions {
  int64_t stride = 128;

  template <class Visitor>
  static void fields(StridedOptions& o, Visitor&& visit) {
    visit(OptionText{"stride", "0 <= i - j <= stride, or stride divides i - j >= 0"}, o.stride, WholeFrom{1});
    visit_scale(o, visit);
    visit_scores(o, visit);
    visit_causal(o, visit);
    visit_normaliser(o, visit);
  }
};

class StridedAttention : public EngineAttention {
 public:
  StridedAttention(AttentionKind kind, const AttentionShape& shape, StridedOptions options)
      : EngineAttention(std::move(kind), shape, options), stride_(options.stride) {}

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

}  // namespace

AttentionEntry sparse_strided_attention() {
  return attention_entry<StridedAttention>(
      {"sparse_strided", "softmax over 0 <= i - j <= stride, or stride divides i - j >= 0",
       "Child et al. 2019, Generating long sequences with sparse transformers, 4.3",
       "O(N (stride + N / stride) D) pairs; the kernel walks what no tile hides whole, O(N + M) memory",
       "fused"},
      {}, StridedOptions{});
}

}  // namespace fovea::nn
