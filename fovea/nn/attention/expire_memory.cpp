#include "fovea/nn/attention/expire_memory.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/log.h>
#include <ATen/ops/where.h>

#include <cmath>
#include <string>

#include "fovea/core/error.h"
#include "fovea/ops/attend.h"
#include "fovea/ops/describe.h"

namespace fovea::nn {
namespace {

constexpr const char* kMemory = "expire_memory";

at::Tensor joined(const at::Tensor& before, const at::Tensor& next, int64_t dim) {
  return before.defined() ? at::cat({before, next}, dim) : next;
}

bool goes_on(const at::Tensor& before, const at::Tensor& next) {
  return !before.defined() ||
         (before.size(0) == next.size(0) && before.size(1) == next.size(1) && before.size(3) == next.size(3));
}

}  // namespace

ExpireMemory::ExpireMemory(double ramp) : ramp_(ramp) {
  if (!(ramp > 0.0 && std::isfinite(ramp))) {
    throw usage_error(kMemory, "ramp must be above 0", std::to_string(ramp), "Give that of the attention.");
  }
}

void ExpireMemory::append(const at::Tensor& k, const at::Tensor& v, const at::Tensor& spans) {
  const bool fits = k.dim() == 4 && v.dim() == 4 && spans.dim() == 3 && spans.size(1) == 1 &&
                    k.size(0) == v.size(0) && k.size(1) == v.size(1) && k.size(2) == v.size(2) &&
                    spans.size(0) == k.size(0) && spans.size(2) == k.size(2) && goes_on(keys_, k) &&
                    goes_on(values_, v);
  if (!fits) {
    throw usage_error(kMemory,
                      "k and v must be (B, H, T, D), spans (B, 1, T), of the same sequences as those before",
                      "k " + describe(k) + ", v " + describe(v) + ", spans " + describe(spans),
                      "Begin another memory for other sequences.");
  }
  drop_expired();
  keys_ = joined(keys_, k, 2);
  values_ = joined(values_, v, 2);
  spans_ = joined(spans_, spans, 2);
  positions_ =
      joined(positions_,
             at::arange(length_, length_ + k.size(2), k.options().dtype(at::kLong).requires_grad(false)), 0);
  length_ += k.size(2);
}

void ExpireMemory::drop_expired() {
  if (size() == 0) return;
  const at::Tensor lives = (spans_.detach() + ramp_ > length_ - positions_).any(0).flatten();
  if (lives.all().item<bool>()) return;
  const at::Tensor kept = lives.nonzero().flatten();
  keys_ = keys_.index_select(2, kept);
  values_ = values_.index_select(2, kept);
  spans_ = spans_.index_select(2, kept);
  positions_ = positions_.index_select(0, kept);
}

at::Tensor ExpireMemory::attend(const at::Tensor& q) const {
  if (q.dim() != 4 || q.size(2) > length_ || size() == 0) {
    throw usage_error(kMemory, "q must be (B, H, T, D), queries of the last T positions",
                      describe(q) + " of " + std::to_string(length_), "Append their keys before.");
  }
  const at::Tensor queries = at::arange(length_ - q.size(2), length_, positions_.options()).unsqueeze(1);
  const at::Tensor ago = queries - positions_;
  const at::Tensor m = ((spans_.unsqueeze(2) - ago) / ramp_ + 1.0).clamp_max(1.0);  // (B, 1, T, L)
  AttendOptions options;
  options.mask = (m.detach() > 0).bitwise_and(ago >= 0);
  options.bias = at::log(at::where(*options.mask, m, 1.0));
  return fovea::attend(q, keys_, values_, options).out;
}

}  // namespace fovea::nn
