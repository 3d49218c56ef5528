#include "fovea/ops/attend_paged.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "fovea/core/error.h"
#include "fovea/ops/attend_paged_composed.h"
#include "tests/ops/attend_cases.h"
#include "tests/ops/expect_attend.h"
#include "tests/support/numbers.h"

namespace fovea {
namespace {

using test::error, test::same_bits, test::tolerance;

struct PagedCase {
  std::vector<int64_t> lengths;
  int64_t heads, kv_heads, queries, page, dim, value_dim;
  at::ScalarType type = at::kFloat;
};

at::Tensor ints(const std::vector<int64_t>& values) { return at::tensor(values).to(at::kInt); }

// Pages in any order, and NaN in every row that no sequence needs. The cache lies as (P, page, Hkv, D), as
// many do.
PagedCache make_cache(const PagedCase& c) {
  const auto batch = static_cast<int64_t>(c.lengths.size());
  const int64_t most = *std::max_element(c.lengths.begin(), c.lengths.end()) / c.page + 1,
                pages = batch * most + 2;
  const auto rows = [&](int64_t dim) {
    return at::full({pages, c.page, c.kv_heads, dim}, test::kNan).to(c.type);
  };
  const at::Tensor k = rows(c.dim), v = rows(c.value_dim);
  const at::Tensor table = at::randperm(pages).slice(0, 0, batch * most).view({batch, most}).to(at::kInt);
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t j = 0; j < c.lengths[b]; ++j) {
      const auto page = table[b][j / c.page].item<int64_t>();
      for (const auto& rows : {k, v}) rows[page][j % c.page].normal_();
    }
  }
  return {k.transpose(1, 2), v.transpose(1, 2), table, ints(c.lengths)};
}

at::Tensor make_queries(const PagedCase& c) {
  return at::randn({static_cast<int64_t>(c.lengths.size()), c.heads, c.queries, c.dim}).to(c.type);
}

PagedCache in_double(const PagedCache& cache) {
  return {cache.k_pages.to(at::kDouble), cache.v_pages.to(at::kDouble), cache.table, cache.lengths};
}

std::vector<AttendPagedOptions> some_options(int64_t heads) {
  std::vector<AttendPagedOptions> all(4);
  const at::Tensor slopes = at::pow(2.0, at::arange(1, heads + 1) * -0.5).to(at::kFloat);
  all[1].functors = bind(Identity{}, Window(30, 0));
  all[2].functors = bind(Chain(SoftCap{5.0f}, Alibi{float_table(slopes)}));
  all[2].scale = 0.3;
  all[3].functors = bind(Identity{}, Window(100, 0) | Global(4));
  return all;
}

void expect_paged_right(const PagedCase& c) {
  const PagedCache cache = make_cache(c);
  const at::Tensor q = make_queries(c);
  for (const auto& options : some_options(c.heads)) {
    const at::Tensor out = attend_paged(q, cache, options);
    const at::Tensor exact = attend_paged_composed(q.to(at::kDouble), in_double(cache), options);
    ASSERT_EQ(out.scalar_type(), c.type);
    ASSERT_EQ(out.sizes(), exact.sizes());
    PagedCache sizes = in_double(cache);
    sizes.v_pages = sizes.v_pages.abs();
    ASSERT_LE(error(out, exact, attend_paged_composed(q.to(at::kDouble), sizes, options)), tolerance(c.type))
        << c.queries << " " << c.page;
  }
}

TEST(AttendPaged, EqualsTheDefinition) {
  at::manual_seed(61);
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const int64_t queries : {1, 2, 4}) {
      for (const int64_t page : {16, 17, 64}) {
        expect_paged_right({{0, 1, 3, 130, 700}, 6, 2, queries, page, 24, 40, type});
        expect_paged_right({{513, 256}, 4, 4, queries, page, 64, 64, type});
        if (HasFatalFailure()) return;
      }
    }
  }
}

// The definition by another way: attention of all positions in causal order, of which the last N are kept.
TEST(AttendPaged, QueriesAreTheLastPositions) {
  at::manual_seed(62);
  const PagedCase c{{37, 90}, 4, 2, 3, 16, 8, 8, at::kDouble};
  const PagedCache cache = make_cache(c);
  const at::Tensor q = make_queries(c);
  for (const auto& given : some_options(c.heads)) {
    const at::Tensor out = attend_paged(q, cache, given);
    for (int64_t b = 0; b < 2; ++b) {
      const int64_t length = c.lengths[b], pages = (length + c.page - 1) / c.page;
      const auto gather = [&](const at::Tensor& t) {
        const at::Tensor rows = t.index_select(0, cache.table[b].slice(0, 0, pages));
        return rows.transpose(0, 1).flatten(1, 2).slice(1, 0, length).unsqueeze(0);
      };
      AttendOptions options;
      options.scale = given.scale;
      options.functors = given.functors;
      options.causal = CausalAlignment::top_left;
      const at::Tensor before = at::zeros({1, c.heads, length - c.queries, c.dim}, at::kDouble);
      const at::Tensor all = at::cat({before, q.narrow(0, b, 1)}, 2);
      const at::Tensor expected = attend(all, gather(cache.k_pages), gather(cache.v_pages), options).out;
      EXPECT_LE(error(out.narrow(0, b, 1), expected.slice(2, length - c.queries), expected.abs().max()),
                1e-14);
    }
  }
}

TEST(AttendPaged, QueriesBeforeTheStartGiveZero) {
  at::manual_seed(63);
  const int64_t ids = 32;
  AttendPagedOptions options;
  options.functors = bind(Identity{}, Segments(int_table(at::zeros({2 * ids}, at::kInt)),
                                               int_table(at::zeros({2 * ids}, at::kInt)), ids, ids));
  for (const int64_t full : {0, 1}) {  // first, its queries before the start would be ids before the tables
    PagedCase c{{0, 0}, 2, 1, 4, 16, 8, 8};
    c.lengths[full] = 2;
    const at::Tensor out = attend_paged(make_queries(c), make_cache(c), options);
    EXPECT_EQ(out[1 - full].abs().max().item<float>(), 0.0f);
    EXPECT_EQ(out[full].slice(1, 0, 2).abs().max().item<float>(), 0.0f);
    EXPECT_GT(out[full].slice(1, 2).abs().min().item<float>(), 0.0f);
  }
}

TEST(AttendPaged, TheSameBitsAsKeysInARowOnAnyNumberOfThreads) {
  at::manual_seed(64);
  const int threads_before = at::get_num_threads();
  const PagedCase c{{1500, 40}, 8, 2, 1, 48, 64, 64, at::kBFloat16};
  const PagedCache cache = make_cache(c);
  const at::Tensor q = make_queries(c);
  at::set_num_threads(1);
  const at::Tensor out = attend_paged(q, cache);
  for (const int threads : {2, 3}) {
    at::set_num_threads(threads);
    EXPECT_TRUE(same_bits(out, attend_paged(q, cache))) << threads;
  }
  at::set_num_threads(threads_before);
  for (int64_t b = 0; b < 2; ++b) {
    const auto gather = [&](const at::Tensor& t) {
      const at::Tensor rows = t.index_select(0, cache.table[b]);
      return rows.transpose(0, 1).flatten(1, 2).slice(1, 0, c.lengths[b]).unsqueeze(0);
    };
    const auto one = attend(q.narrow(0, b, 1), gather(cache.k_pages), gather(cache.v_pages)).out;
    EXPECT_TRUE(same_bits(out.narrow(0, b, 1), one)) << b;
  }
}

TEST(AttendPaged, GradientsComeFromTheDefinition) {
  at::manual_seed(65);
  const PagedCase c{{20, 7}, 2, 1, 2, 16, 8, 8};
  const PagedCache cache = make_cache(c);
  const at::Tensor q = make_queries(c).requires_grad_();
  attend_paged(q, cache).square().sum().backward();
  EXPECT_TRUE(at::isfinite(q.grad()).all().item<bool>());
  EXPECT_GT(q.grad().abs().sum().item<double>(), 0.0);
}

TEST(AttendPaged, EmptyBatchAndNoQueries) {
  const PagedCache cache{at::randn({3, 2, 16, 8}), at::randn({3, 2, 16, 4}), at::zeros({0, 2}, at::kInt),
                         at::zeros({0}, at::kInt)};
  EXPECT_EQ(attend_paged(at::randn({0, 4, 1, 8}), cache).sizes(), (std::vector<int64_t>{0, 4, 1, 4}));
  const PagedCache one{cache.k_pages, cache.v_pages, at::zeros({1, 2}, at::kInt), ints({5})};
  EXPECT_EQ(attend_paged(at::randn({1, 4, 0, 8}), one).numel(), 0);
}

std::string failure(const at::Tensor& q, const PagedCache& cache, const AttendPagedOptions& options = {}) {
  try {
    attend_paged(q, cache, options);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(AttendPaged, RefusesWhatDoesNotFit) {
  const at::Tensor q = at::randn({2, 4, 1, 8});
  const PagedCache good{at::randn({3, 2, 16, 8}), at::randn({3, 2, 16, 4}), at::zeros({2, 2}, at::kInt),
                        ints({5, 32})};
  EXPECT_EQ(failure(q, good), "");
  const auto expect = [&](const std::string& rule, const auto& change) {
    PagedCache bad = good;
    change(bad);
    const std::string found = failure(q, bad);
    EXPECT_EQ(found.rfind("[attend_paged] " + rule, 0), 0u) << found;
  };
  expect("q (B, H, N, D) and the pages", [](auto& c) { c.k_pages = c.k_pages[0]; });
  expect("q and k_pages must share head_dim", [](auto& c) { c.k_pages = at::randn({3, 2, 16, 9}); });
  expect("k_pages and v_pages must share", [](auto& c) { c.v_pages = at::randn({3, 2, 15, 4}); });
  expect("a page must hold a key", [](auto& c) { c.k_pages = c.v_pages = at::randn({3, 2, 0, 8}); });
  expect("the heads of q", [](auto& c) { c.k_pages = c.v_pages = at::randn({3, 3, 16, 8}); });
  expect("q, k_pages and v_pages must share one", [](auto& c) { c.v_pages = c.v_pages.to(at::kHalf); });
  expect("the table (B, pages) and the lengths (B) must be int32",
         [](auto& c) { c.table = c.table.to(at::kLong); });
  expect("the table (B, pages)", [](auto& c) { c.table = c.table.slice(0, 0, 1); });
  expect("the table (B, pages)", [](auto& c) { c.lengths = at::Tensor(); });
  expect("a length must be in 0 ... 32", [](auto& c) { c.lengths = ints({5, 33}); });
  expect("a length must be in 0 ... 32", [](auto& c) { c.lengths = ints({-1, 3}); });
  expect("a page number must be in 0 ... 2; found 3 as page 1 of sequence 1", [](auto& c) {
    c.table = ints({0, 0, 0, 3}).view({2, 2});
  });
  expect("a page number must be in 0 ... 2", [](auto& c) { c.table = ints({-1, 0, 0, 0}).view({2, 2}); });
  AttendPagedOptions infinite;
  infinite.scale = test::kInfinity;
  EXPECT_NE(failure(q, good, infinite).find("the scale must be finite"), std::string::npos);
  PagedCache unread = good;  // the second page of the first sequence is beyond its length
  unread.table = ints({0, 99, 1, 2}).view({2, 2});
  EXPECT_EQ(failure(q, unread), "");
}

}  // namespace
}  // namespace fovea
