#include "fovea/ops/span_functors.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/log.h>
#include <ATen/ops/where.h>

#include <utility>

#include "fovea/ops/operands.h"

namespace fovea {
namespace {

template <SpanOf kOf>
class SpanFunctors : public AttendFunctors {
 public:
  SpanFunctors(const at::Tensor& spans, double ramp)
      : spans_(spans), ramp_(ramp), functors_{soft(spans, ramp), SpanMask<kOf>(soft(spans, ramp))} {}

  TileProgram program() const override { return tile_program(functors_); }

  at::Tensor score(const at::Tensor& scores, const TensorAt& at) const override {
    const at::Tensor m = shares(spans_.to(scores.scalar_type()), at).clamp_max(1.0), seen = m.detach() > 0;
    return scores + at::log(at::where(seen, m, 1.0));
  }

  at::Tensor allowed(const TensorAt& at) const override { return shares(widened(spans_.detach()), at) > 0; }

  at::Tensor learned() const override { return spans_; }

  at::Tensor make_sums(int64_t chunks, int64_t heads) const override {
    return make_own_sums(spans_, chunks, heads);
  }
  at::Tensor gradient(const at::Tensor& sums) const override { return own_gradient(spans_, sums); }

 private:
  static SoftSpan<kOf> soft(const at::Tensor& spans, double ramp) {
    const auto stride = [&](int64_t dim, int64_t step) {
      return static_cast<int32_t>(spans.size(dim) == 1 ? 0 : step);
    };
    const int64_t places = spans.size(2);
    const bool kernel = spans.is_cpu();
    return {kernel ? float_table(spans.detach().to(at::kFloat).flatten().contiguous()) : Table<float>{},
            stride(0, spans.size(1) * places), stride(1, places), stride(2, 1), static_cast<float>(ramp)};
  }

  at::Tensor shares(const at::Tensor& spans, const TensorAt& at) const {
    const at::Tensor by_pair = spans.unsqueeze(kOf == SpanOf::query ? 3 : 2);
    return (by_pair - (at.q - at.k).abs()) / ramp_ + 1.0;
  }

  at::Tensor spans_;
  double ramp_;
  Functors<SoftSpan<kOf>, SpanMask<kOf>> functors_;
};

}  // namespace

std::shared_ptr<const AttendFunctors> soft_span(const at::Tensor& spans, SpanOf of, double ramp) {
  if (of == SpanOf::query) return std::make_shared<SpanFunctors<SpanOf::query>>(spans, ramp);
  return std::make_shared<SpanFunctors<SpanOf::key>>(spans, ramp);
}

}  // namespace fovea
