#include "tests/ops/attend_table.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "fovea/ops/attend_decode.h"
#include "fovea/ops/attend_fused.h"
#include "fovea/ops/attend_packed.h"
#include "tests/ops/attend_gradients.h"
#include "tests/ops/expect_attend.h"

// Outputs and all gradients over the case table, each case's numbers from a seed of its own.

namespace fovea {
namespace {

using test::AttendAxes, test::AttendCase, test::Evaluated, test::Gradients, test::Operands;

at::Tensor gradient_of_output(const AttendCase& c) {
  return test::make_operand({c.batch, c.heads, c.queries, c.value_dim}, c.type, c.layout);
}

void expect_right_output(const at::Tensor& out, const at::Tensor& exact, const at::Tensor& sizes,
                         const AttendCase& c, const char* path) {
  ASSERT_EQ(out.scalar_type(), c.type) << c.name();
  ASSERT_EQ(out.sizes(), exact.sizes()) << c.name();
  ASSERT_LE(test::error(out, exact, sizes), test::tolerance(c.type) + test::score_error(c))
      << c.name() << path;
}

// What attend() would run for inference and for training, whether or not it would for these sizes.
void expect_right_alone(const AttendCase& c) {
  const Operands t = test::make_operands(c);
  const AttendOptions options = test::make_options(c);
  const at::Tensor grad_out = gradient_of_output(c);
  ASSERT_EQ(why_not_fused(t.q, t.k, t.v, options), std::nullopt) << c.name();
  const Evaluated got = test::evaluate(attend_fused, t, grad_out, options),
                  exact = test::evaluate_exactly(t, grad_out, options);
  test::GradientTerms terms(t, grad_out, options);
  const at::Tensor& sizes = terms.output_sizes();
  expect_right_output(got.out, exact.out, sizes, c, " while training");
  expect_right_output(attend_fused(t.q, t.k, t.v, options).out, exact.out, sizes, c, "");
  if (c.queries <= 8 && options.dropout_p == 0.0 && std::holds_alternative<Softmax>(options.normaliser)) {
    expect_right_output(attend_decode(t.q, t.k, t.v, options).out, exact.out, sizes, c, " by decode");
  }
  test::expect_right_gradients(got.gradients, exact.gradients, terms.squares(), c);
}

// (1, H, T, D) of each sequence as rows (sum of T, H, D).
at::Tensor rows_of(const std::vector<at::Tensor>& sequences) {
  std::vector<at::Tensor> rows;
  for (const auto& t : sequences) rows.push_back(t[0].transpose(0, 1));
  return at::cat(rows);
}

at::Tensor offsets_of(const std::vector<at::Tensor>& sequences) {
  std::vector<int64_t> offsets = {0};
  for (const auto& t : sequences) offsets.push_back(offsets.back() + t.size(2));
  return at::tensor(offsets);
}

// What some sequences give: for each result and gradient, that of each sequence.
struct Separate {
  std::vector<at::Tensor> q, k, v, grad_out, out, sizes;
  std::vector<Gradients> gradients, squares;

  void add(const AttendCase& c, const AttendOptions& options) {
    const Operands t = test::make_operands(c);
    const at::Tensor grad = gradient_of_output(c);
    const Evaluated exact = test::evaluate_exactly(t, grad, options);
    q.push_back(t.q);
    k.push_back(t.k);
    v.push_back(t.v);
    grad_out.push_back(grad);
    out.push_back(exact.out);
    gradients.push_back(exact.gradients);
    test::GradientTerms terms(t, grad, options);
    sizes.push_back(terms.output_sizes());
    squares.push_back(terms.squares());
  }

  // Rows of q, k and v stand behind each other; what all sequences teach adds up.
  static Gradients together(const std::vector<Gradients>& each) {
    Gradients all;
    for (size_t i = 0; i < each[0].size(); ++i) {
      std::vector<at::Tensor> parts;
      for (const auto& of_one : each) parts.push_back(of_one[i]);
      all.push_back(i < 3 ? rows_of(parts) : at::stack(parts).sum(0));
    }
    return all;
  }
};

// A short sequence, then those of the case.
void expect_right_packed(AttendCase c) {
  const int64_t sequences = std::exchange(c.batch, 1);
  c.layout = "contiguous";
  const AttendOptions options = test::make_options(c);
  Separate parts;
  AttendCase first = c;
  first.queries = 3;
  first.keys = 5;
  parts.add(first, options);
  for (int64_t s = 0; s < sequences; ++s) parts.add(c, options);
  const at::Tensor query_offsets = offsets_of(parts.q), key_offsets = offsets_of(parts.k);
  const auto run = [&](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                       const AttendOptions& given) {
    return AttendResult{attend_packed(q, k, v, query_offsets, key_offsets, given), {}, {}};
  };
  const Operands t{rows_of(parts.q), rows_of(parts.k), rows_of(parts.v)};
  const Evaluated got = test::evaluate(run, t, rows_of(parts.grad_out), options);
  const at::Tensor exact = rows_of(parts.out), sizes = rows_of(parts.sizes);
  expect_right_output(got.out, exact, sizes, c, " packed, while training");
  expect_right_output(run(t.q, t.k, t.v, options).out, exact, sizes, c, " packed");
  test::expect_right_gradients(got.gradients, Separate::together(parts.gradients),
                               Separate::together(parts.squares), c);
}

void expect_right(const AttendCase& c, uint64_t seed) {
  SCOPED_TRACE("seed " + std::to_string(seed) + (c.layout == "packed" ? " packed" : ""));
  at::manual_seed(seed);
  if (c.layout == "packed") {
    expect_right_packed(c);
  } else {
    expect_right_alone(c);
  }
}

TEST(AttendTable, AllPairs) {
  const auto cases = test::all_pairs(test::all_axes(), 71);
  for (size_t i = 0; i < cases.size() && !HasFatalFailure(); ++i) expect_right(cases[i], 100000 + i);
  std::printf("%zu cases\n", cases.size());
}

TEST(AttendTable, AllPairsAreThere) {
  const std::vector<size_t> sizes = {5, 2, 7, 3};
  const auto may = [](const test::Pair& p) {
    return !(p.axis == 0 && p.value == 4 && p.other_axis == 2 && p.other_value > 3);
  };
  const test::CoveringArray array(sizes, may, 1);
  const auto& rows = array.rows();
  std::set<std::tuple<size_t, size_t, size_t, size_t>> found;
  for (const auto& row : rows) {
    for (size_t a = 0; a < 4; ++a) {
      ASSERT_LT(row[a], sizes[a]);
      for (size_t b = a + 1; b < 4; ++b) {
        ASSERT_TRUE(may({a, row[a], b, row[b]}));
        found.insert({a, row[a], b, row[b]});
      }
    }
  }
  EXPECT_EQ(found.size(), 5u * 2 + 5 * 7 + 5 * 3 + 2 * 7 + 2 * 3 + 7 * 3 - 3);
  EXPECT_LE(rows.size(), 45u);  // 35 at least, and the product has 210
}

// Cases of a product by their numbers.
class Product {
 public:
  explicit Product(const AttendAxes& axes) : axes_(axes), size_(test::product_size(axes)) {}

  size_t size() const { return size_; }

  // False where there is no such case.
  template <class Wanted>
  bool run(size_t number, const Wanted& wanted) {
    const AttendCase c = test::product_case(axes_, number);
    if (!test::may_be_packed(c.layout, c.functors) || !wanted(c)) return false;
    expect_right(c, number);
    return true;
  }

 private:
  const AttendAxes& axes_;
  size_t size_;
};

// FOVEA_TEST_FULL=1 runs the whole product, some 186,000 cases; otherwise some of it.
TEST(AttendTable, ShortSequences) {
  Product product(test::short_axes());
  const auto any = [](const AttendCase&) { return true; };
  const char* full = std::getenv("FOVEA_TEST_FULL");
  size_t ran = 0;
  Random random(73);
  if (full && *full == '1') {
    for (size_t i = 0; i < product.size() && !HasFatalFailure(); ++i) ran += product.run(i, any);
  } else {
    const auto wanted = static_cast<size_t>(test::scaled(150));
    while (ran < wanted && !HasFatalFailure()) ran += product.run(random.below(product.size()), any);
  }
  std::printf("%zu cases\n", ran);
}

TEST(AttendTable, LongSequences) {
  Product product(test::all_axes());
  const auto is_long = [](const AttendCase& c) { return std::max(c.queries, c.keys) > 65; };
  Random random(79);
  size_t ran = 0;
  const auto wanted = static_cast<size_t>(test::scaled(30));
  while (ran < wanted && !HasFatalFailure()) ran += product.run(random.below(product.size()), is_long);
  std::printf("%zu cases\n", ran);
}

}  // namespace
}  // namespace fovea
