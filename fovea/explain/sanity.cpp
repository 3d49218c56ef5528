#include "fovea/explain/sanity.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "fovea/core/error.h"

namespace fovea::explain {
namespace {

// Ranks from 0; equal values share the mean of theirs.
at::Tensor ranks(const at::Tensor& values) {
  const at::Tensor v = values.detach().to(at::kCPU, at::kDouble).flatten().contiguous();
  const double* data = v.const_data_ptr<double>();
  std::vector<int64_t> order(v.numel());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::sort(order.begin(), order.end(), [data](int64_t a, int64_t b) { return data[a] < data[b]; });
  at::Tensor out = at::empty_like(v);
  double* rank = out.mutable_data_ptr<double>();
  for (size_t i = 0; i < order.size();) {
    size_t end = i + 1;
    while (end < order.size() && data[order[end]] == data[order[i]]) ++end;
    for (size_t k = i; k < end; ++k) rank[order[k]] = static_cast<double>(i + end - 1) / 2;
    i = end;
  }
  return out;
}

}  // namespace

double rank_correlation(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes() || a.numel() < 2) {
    throw usage_error("rank_correlation",
                      fmt::format("two maps of equal size, at least 2 values; found ({}) and ({}).",
                                  fmt::join(a.sizes(), ", "), fmt::join(b.sizes(), ", ")));
  }
  at::Tensor x = ranks(a), y = ranks(b);
  x = x - x.mean();
  y = y - y.mean();
  const double scale = (x.norm() * y.norm()).item<double>();
  return scale > 0 ? (x * y).sum().item<double>() / scale : 0.0;
}

RandomisedScope::RandomisedScope(torch::nn::Module& network, uint64_t seed) {
  const at::NoGradGuard no_grad;
  const at::Generator generator = at::detail::createCPUGenerator(seed);
  for (const at::Tensor& parameter : network.parameters()) {
    kept_.emplace_back(parameter, parameter.detach().clone());
    const at::Tensor wide = parameter.detach().to(at::kCPU, at::kDouble);
    const at::Tensor noise = at::randn(wide.sizes(), generator, wide.options());
    const double spread = wide.numel() > 1 ? wide.std().item<double>() : 0.0;
    parameter.detach().copy_(wide.mean() + spread * noise);
  }
}

RandomisedScope::~RandomisedScope() {
  const at::NoGradGuard no_grad;
  for (const auto& [parameter, old] : kept_) parameter.detach().copy_(old);
}

double randomisation_correlation(const Explainer& explainer, models::ImageNetwork& network,
                                 const at::Tensor& image, int64_t target, uint64_t seed) {
  const Explanation before = explainer.explain(network, image, target);
  const RandomisedScope randomised(network, seed);
  const Explanation after = explainer.explain(network, image, before.target);
  return rank_correlation(before.values, after.values);
}

double mass_inside(const at::Tensor& map, const at::Tensor& inside) {
  const at::Tensor m = map.to(at::kDouble);
  const double total = m.sum().item<double>();
  return total > 0 ? (m * inside.to(at::kDouble)).sum().item<double>() / total : 0.0;
}

}  // namespace fovea::explain
