#include "tests/ops/user_functors.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "fovea/ops/attend_decode.h"
#include "fovea/ops/attend_fused.h"
#include "tests/ops/attend_gradients.h"
#include "tests/ops/expect_attend.h"

namespace fovea::test {

std::vector<UserFunctors>& user_functors() {
  static std::vector<UserFunctors> all;
  return all;
}

namespace {

AttendOptions options_with(const UserFunctors& user) {
  AttendOptions options;
  options.functors = user.make();
  return options;
}

// A user's file needs no flag, whichever compiler takes it and however.
TEST(UserFunctors, RunInEveryKernel) {
  at::manual_seed(15);
  const AttendCase c{2, 6, 3, 130, 190, 32, 32, at::kFloat, "contiguous", "none"};
  ASSERT_GE(user_functors().size(), 3u);
  for (const auto& user : user_functors()) {
    SCOPED_TRACE(user.compiled);
    const AttendOptions options = options_with(user);
    const Operands t = make_operands(c);
    const at::Tensor grad_out = at::randn({2, 6, 130, 32});
    ASSERT_EQ(why_not_fused(t.q, t.k, t.v, options), std::nullopt);
    const Evaluated got = evaluate(attend_fused, t, grad_out, options),
                    exact = evaluate_exactly(t, grad_out, options);
    GradientTerms terms(t, grad_out, options);
    EXPECT_LE(error(got.out, exact.out, terms.output_sizes()), 6e-6);
    expect_right_gradients(got.gradients, exact.gradients, terms.squares(), c);
    const Operands few{t.q.slice(2, 0, 4), t.k, t.v};
    EXPECT_LE(output_error(attend_decode(few.q, few.k, few.v, options).out, few, options), 6e-6);
  }
}

TEST(UserFunctors, ClangCompilesThemToo) {
#if defined(FOVEA_TEST_CLANG)
  const auto by_clang = [](const UserFunctors& user) { return user.compiled.starts_with("clang"); };
  EXPECT_EQ(std::count_if(user_functors().begin(), user_functors().end(), by_clang), 3);
#else
  GTEST_SKIP() << "this build found no clang++, or has sanitizers, which two compilers do not share";
#endif
}

}  // namespace
}  // namespace fovea::test
