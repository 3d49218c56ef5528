#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "fovea/core/random.h"
#include "fovea/ops/attend.h"
#include "fovea/ops/attend_fused.h"
#include "fovea/ops/attend_packed.h"
#include "tests/ops/attend_cases.h"

// What must hold whatever the numbers. FOVEA_TEST_SCALE=50 runs 10,000 cases.

namespace fovea {
namespace {

using test::Operands;

// A random call, from its seed alone.
class Draw {
 public:
  explicit Draw(uint64_t seed) : random_(seed) {
    at::manual_seed(seed);
    kv_heads_ = between(1, 3);
    heads_ = kv_heads_ * between(1, 3);
    queries_ = length();
    keys_ = length();
    dim_ = between(1, 70);
    value_dim_ = between(1, 70);
  }

  int64_t between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random_.below(static_cast<uint64_t>(high - low + 1)));
  }
  int64_t length() { return random_.below(4) == 0 ? between(1, 20) : between(1, 300); }

  Operands operands(int64_t keys_like_queries = 0) const {
    const int64_t keys = keys_like_queries ? queries_ : keys_;
    return {at::randn({1, heads_, queries_, dim_}), at::randn({1, kv_heads_, keys, dim_}),
            at::randn({1, kv_heads_, keys, value_dim_})};
  }
  int64_t heads() const { return heads_; }
  int64_t kv_heads() const { return kv_heads_; }
  int64_t queries() const { return queries_; }
  int64_t keys() const { return keys_; }

 private:
  Random random_;
  int64_t kv_heads_, heads_, queries_, keys_, dim_, value_dim_;
};

at::Tensor run(const Operands& t, const AttendOptions& options) { return attend(t.q, t.k, t.v, options).out; }

// Sums in another order: a few roundings of numbers of size 1, more where scores are large.
void expect_close(const at::Tensor& a, const at::Tensor& b, uint64_t seed) {
  ASSERT_TRUE(at::allclose(a, b, 1e-5, 2e-5))
      << "seed " << seed << ", off by " << (a - b).abs().max().item<float>();
}

template <class Property>
void for_each_seed(uint64_t first, const Property& property) {
  for (uint64_t seed = first; seed < first + static_cast<uint64_t>(test::scaled(40)); ++seed) {
    property(Draw(seed), seed);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(AttendProperty, AWindowAsLongAsTheSequenceIsFull) {
  for_each_seed(10000, [](Draw draw, uint64_t seed) {
    const Operands t = draw.operands();
    AttendOptions window;
    window.window =
        AttendWindow{std::max(draw.queries(), draw.keys()), std::max(draw.queries(), draw.keys())};
    expect_close(run(t, window), run(t, {}), seed);
  });
}

TEST(AttendProperty, CausalAndWindowIsTheirProduct) {
  for_each_seed(20000, [](Draw draw, uint64_t seed) {
    const Operands t = draw.operands();
    const int64_t left = draw.between(0, 100), right = draw.between(0, 100);
    AttendOptions both, product;
    both.causal = CausalAlignment::top_left;
    both.window = AttendWindow{left, right};
    const auto i = at::arange(draw.queries()).unsqueeze(1), j = at::arange(draw.keys()).unsqueeze(0);
    product.mask = (j <= i) & (i - j <= left) & (j - i <= right);
    expect_close(run(t, both), run(t, product), seed);
  });
}

TEST(AttendProperty, PermutingHeadsPermutesOutputs) {
  for_each_seed(30000, [](Draw draw, uint64_t seed) {
    const Operands t = draw.operands();
    const int64_t group = draw.heads() / draw.kv_heads();
    const at::Tensor order = at::randperm(draw.kv_heads()),
                     heads = (order.unsqueeze(1) * group + at::arange(group)).flatten();
    AttendOptions options;
    if (seed % 2) options.causal = CausalAlignment::bottom_right;
    const at::Tensor permuted =
        run({t.q.index_select(1, heads), t.k.index_select(1, order), t.v.index_select(1, order)}, options);
    ASSERT_TRUE(at::equal(permuted, run(t, options).index_select(1, heads))) << "seed " << seed;
  });
}

TEST(AttendProperty, PartsOfTheKeysMergeToTheWhole) {
  for_each_seed(40000, [](Draw draw, uint64_t seed) {
    const Operands t = draw.operands();
    const int64_t cut = draw.between(0, draw.keys());
    AttendOptions options;
    options.lse = true;
    const auto part = [&](int64_t begin, int64_t end) {
      return attend(t.q, t.k.slice(2, begin, end), t.v.slice(2, begin, end), options);
    };
    const auto a = part(0, cut), b = part(cut, draw.keys());
    const at::Tensor lse = at::logaddexp(a.lse, b.lse);
    const auto weighted = [&](const AttendResult& r) { return r.out * (r.lse - lse).exp().unsqueeze(3); };
    expect_close(weighted(a) + weighted(b), run(t, {}), seed);
  });
}

TEST(AttendProperty, PackedIsSeparate) {
  for_each_seed(50000, [](Draw draw, uint64_t seed) {
    const Operands t = draw.operands(/*keys_like_queries=*/1);
    const int64_t cut = draw.between(0, draw.queries());
    const auto rows = [](const at::Tensor& x) { return x[0].transpose(0, 1); };
    const auto offsets = at::tensor({int64_t{0}, cut, draw.queries()});
    AttendOptions options;
    if (seed % 2) options.causal = CausalAlignment::top_left;
    AttendOptions documents = options;
    const auto ids = (at::arange(draw.queries()) >= cut).to(at::kInt).unsqueeze(0);
    documents.segments = AttendSegments{ids, ids};
    const at::Tensor packed = attend_packed(rows(t.q), rows(t.k), rows(t.v), offsets, offsets, options);
    expect_close(packed, rows(run(t, documents)), seed);
  });
}

}  // namespace
}  // namespace fovea
