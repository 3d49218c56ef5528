#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace fovea::cli {

/// A call of attend() that `fovea bench attend` times. Names and sizes are those of bench/attend/cases.py,
/// which times the same calls beside others.
struct BenchCase {
  enum class Bias { none, dense, t5, swin };

  std::string group;
  int64_t b = 1, h = 8, hkv = 8, n = 2048, m = 2048, d = 64;
  bool causal = false;
  std::optional<int64_t> window = {};  ///< keys before the query
  Bias bias = Bias::none;
  double dropout_p = 0.0;
  bool bf16 = false, backward = false;

  /// group_fp32|bf16_fwd|fwdbwd
  std::string name() const;
  /// 4 d a pair that is not masked, 3.5 times that with the backward.
  double flops() const;
};

std::vector<BenchCase> bench_cases();

/// The call with random operands, which change from run to run.
std::function<void()> bench_run(const BenchCase& bench_case);

}  // namespace fovea::cli
