#pragma once
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "fovea/ops/attend.h"
#include "fovea/ops/attend_composed.h"
#include "tests/ops/attend_cases.h"

// What tests of attend()'s implementations expect of them.

namespace fovea::test {

/// Of output_error(): a relative error of each weight gives at most the same one there.
/// float32: scores of up to 256 products, 2^x and sums, each a few 2^-24. Half types round the result, by
/// 2^-11 (float16) or 2^-8 (bfloat16) of itself at most; bfloat16 also rounds each weight, as much, and its
/// 2^x errs by 1.1e-4.
inline double tolerance(at::ScalarType type) {
  if (type == at::kBFloat16) return 0x1p-8 + 0x1p-8 + 1.1e-4;
  return 6e-6 + (type == at::kHalf ? 0x1p-11 : 0.0);
}

/// The type's smallest normal number: below it steps, and so the errors of rounding, get no smaller.
inline double smallest_normal(at::ScalarType type) { return type == at::kHalf ? 0x1p-14 : 0x1p-126; }

/// The largest |out - exact| / sizes of all numbers.
inline double error(const at::Tensor& out, const at::Tensor& exact, const at::Tensor& sizes) {
  if (out.numel() == 0) return 0.0;
  const double smallest = smallest_normal(out.scalar_type());
  return ((out.to(at::kDouble) - exact).abs() / sizes.to(at::kDouble).clamp_min(smallest))
      .max()
      .item<double>();
}

/// Of a call's output against the definition, with the sizes of the sums that it makes: sum_j w_ij |v_j|.
inline double output_error(const at::Tensor& out, const Operands& t, const AttendOptions& options) {
  const at::Tensor exact = exact_attend({t.q, t.k, at::cat({t.v, t.v.abs()}, -1)}, options);
  return error(out, exact.narrow(-1, 0, t.v.size(3)), exact.narrow(-1, t.v.size(3), t.v.size(3)));
}

/// The largest difference over the largest number.
inline double relative_error(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

/// |a - b| / |b| in the norm, in float64.
inline double norm_error(const at::Tensor& a, const at::Tensor& b) {
  return ((a.to(at::kDouble) - b.to(at::kDouble)).norm() / b.to(at::kDouble).norm()).item<double>();
}

inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() && at::equal(a.contiguous().view(at::kByte), b.contiguous().view(at::kByte));
}

using Run = AttendResult (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const AttendOptions&);

/// The definition, as such a function.
inline AttendResult composed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const AttendOptions& options) {
  return attend_composed(q, k, v, options);
}

/// check(c) for each case, up to the first that fails.
template <class Check>
void for_each_case(const std::vector<AttendCase>& cases, const Check& check) {
  for (const auto& c : cases) {
    check(c);
    if (testing::Test::HasFatalFailure()) return;
  }
}

/// The case's output is that of the definition.
inline void expect_right(Run run, const AttendCase& c, const AttendOptions& options) {
  const Operands t = make_operands(c);
  const at::Tensor out = run(t.q, t.k, t.v, options).out;
  ASSERT_EQ(out.scalar_type(), c.type);
  ASSERT_EQ(out.sizes(), (std::vector<int64_t>{c.batch, c.heads, c.queries, c.value_dim}));
  ASSERT_LE(output_error(out, t, options), tolerance(c.type) + score_error(c)) << c.name();
}

/// Of float32 operands, under a causal mask.
inline void expect_right_at_any_scale(Run run, const Operands& t, CausalAlignment causal) {
  for (const double scale : {-0.5, 0.0, 1.5}) {
    AttendOptions options;
    options.scale = scale;
    options.causal = causal;
    EXPECT_LE(output_error(run(t.q, t.k, t.v, options).out, t, options), 6e-6) << scale;
  }
}

/// Of a case in float32.
inline void expect_right_lse(Run run, const AttendCase& c) {
  const Operands t = make_operands(c);
  AttendOptions options = make_options(c);
  options.lse = true;
  const at::Tensor got = run(t.q, t.k, t.v, options).lse;
  const at::Tensor exact =
      attend(t.q.to(at::kDouble), t.k.to(at::kDouble), t.v.to(at::kDouble), in_double(options)).lse;
  ASSERT_EQ(got.sizes(), (std::vector<int64_t>{c.batch, c.heads, c.queries}));
  EXPECT_TRUE(at::allclose(got.to(at::kDouble), exact, 1e-6, 4e-6)) << c.functors;
}

/// What is put into a value or a key, the same in every head.
struct Spoilt {
  int64_t key;
  bool value;
  double poison;
};

/// Rows that may not see the spoilt key keep their bits; those that may are not finite.
inline void expect_isolated(Run run, const AttendCase& c, const Spoilt& spoilt) {
  Operands t = make_operands(c);
  const AttendOptions options = make_options(c);
  const at::Tensor clean = run(t.q, t.k, t.v, options).out;
  (spoilt.value ? t.v : t.k).select(2, spoilt.key).select(2, c.dim / 2).fill_(spoilt.poison);
  const at::Tensor out = run(t.q, t.k, t.v, options).out;
  AttendOptions seen_options = options;
  seen_options.weights = true;
  const Operands plain = make_operands(c);
  const at::Tensor seen = attend(plain.q, plain.k, plain.v, seen_options).weights.select(3, spoilt.key) > 0;
  ASSERT_TRUE(seen.any().item<bool>() && !seen.all().item<bool>()) << c.name();
  const std::string what = c.name() + (spoilt.value ? " value " : " key ") + std::to_string(spoilt.poison);
  EXPECT_TRUE(same_bits(out.index({seen.logical_not()}), clean.index({seen.logical_not()}))) << what;
  EXPECT_FALSE(at::isfinite(out.index({seen})).all(-1).any().item<bool>()) << what;
}

}  // namespace fovea::test
