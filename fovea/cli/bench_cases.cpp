#include "fovea/cli/bench_cases.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <memory>

#include "fovea/ops/attend.h"

namespace fovea::cli {
namespace {

using Bias = BenchCase::Bias;

// Forward and backward, fp32 and bf16, as far as they are asked for.
void add(std::vector<BenchCase>& cases, BenchCase bench_case, bool forward, bool backward, bool bf16) {
  for (const bool narrow : {false, true}) {
    if (narrow && !bf16) continue;
    bench_case.bf16 = narrow;
    for (const bool both : {false, true}) {
      if (both ? !backward : !forward) continue;
      bench_case.backward = both;
      cases.push_back(bench_case);
    }
  }
}

struct Operands {
  at::Tensor q, k, v, grad;
};

at::Tensor random(const BenchCase& c, at::IntArrayRef shape) {
  return at::randn(shape).to(c.bf16 ? at::kBFloat16 : at::kFloat).requires_grad_(c.backward);
}

// More memory than caches hold for a single query, whose keys are read once; a few sets otherwise.
std::vector<Operands> operand_sets(const BenchCase& c) {
  constexpr int64_t kCaches = int64_t{512} << 20;
  const int64_t bytes = 2 * c.b * c.hkv * c.m * c.d * (c.bf16 ? 2 : 4);
  const int64_t count = c.n == 1 ? std::max<int64_t>(3, kCaches / bytes) : 3;
  std::vector<Operands> sets;
  for (int64_t i = 0; i < count; ++i) {
    sets.push_back({random(c, {c.b, c.h, c.n, c.d}), random(c, {c.b, c.hkv, c.m, c.d}),
                    random(c, {c.b, c.hkv, c.m, c.d}), random(c, {c.b, c.h, c.n, c.d}).detach()});
  }
  return sets;
}

// The tensor that a gradient is computed of stands in `learned`.
AttendOptions options_of(const BenchCase& c, std::vector<at::Tensor>& learned) {
  AttendOptions options;
  if (c.causal) options.causal = CausalAlignment::top_left;
  if (c.window) options.window = AttendWindow{c.window, 0};
  options.dropout_p = c.dropout_p;
  // T5's buckets are one table of distances: all beyond 128 share an entry.
  if (c.bias == Bias::t5) options.relative_table = random(c, {c.h, 257});
  // Swin's table, gathered: every window adds the same 49 x 49 scores.
  if (c.bias == Bias::dense || c.bias == Bias::swin) options.bias = random(c, {1, c.h, c.n, c.m});
  if (options.relative_table) learned = {*options.relative_table};
  if (options.bias) learned = {*options.bias};
  return options;
}

}  // namespace

std::string BenchCase::name() const {
  return group + (bf16 ? "_bf16" : "_fp32") + (backward ? "_fwdbwd" : "_fwd");
}

double BenchCase::flops() const {
  int64_t pairs = n * m;
  if (causal) {
    const int64_t width = std::min(window.value_or(n) + 1, n);
    pairs = width * (width + 1) / 2 + (n - width) * width;
  }
  return 4.0 * static_cast<double>(b * h * pairs * d) * (backward ? 3.5 : 1.0);
}

std::vector<BenchCase> bench_cases() {
  std::vector<BenchCase> cases;
  const auto all = [&](const BenchCase& c) { add(cases, c, true, true, true); };
  all({.group = "full"});
  all({.group = "causal", .causal = true});
  all({.group = "window", .n = 8192, .m = 8192, .causal = true, .window = 256});
  add(cases, {.group = "bias_dense", .bias = Bias::dense}, false, true, true);
  add(cases, {.group = "bias_t5", .bias = Bias::t5}, false, true, true);
  add(cases, {.group = "swin", .b = 64, .h = 3, .hkv = 3, .n = 49, .m = 49, .d = 32, .bias = Bias::swin},
      true, true, false);
  add(cases, {.group = "dropout", .dropout_p = 0.1}, true, true, false);
  add(cases, {.group = "decode", .h = 32, .n = 1, .m = 8192, .d = 128}, true, false, true);
  all({.group = "vit", .b = 8, .h = 12, .hkv = 12, .n = 197, .m = 197});
  add(cases, {.group = "long", .n = 65536, .m = 65536, .causal = true, .window = 1024}, false, true, false);
  return cases;
}

std::function<void()> bench_run(const BenchCase& c) {
  std::vector<at::Tensor> learned;
  const AttendOptions options = options_of(c, learned);
  return [options, learned, sets = operand_sets(c), turn = size_t{0}, backward = c.backward]() mutable {
    const Operands& o = sets[turn++ % sets.size()];
    const at::AutoGradMode with_gradient(backward);
    const at::Tensor out = attend(o.q, o.k, o.v, options).out;
    if (!backward) return;
    std::vector<at::Tensor> inputs = {o.q, o.k, o.v};
    inputs.insert(inputs.end(), learned.begin(), learned.end());
    torch::autograd::grad({out}, inputs, {o.grad});
  };
}

}  // namespace fovea::cli
