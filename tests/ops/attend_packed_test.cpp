#include "fovea/ops/attend_packed.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "fovea/core/error.h"

namespace fovea {
namespace {

struct Packed {
  at::Tensor q, k, v, query_offsets, key_offsets;
};

// Five sequences, one of them without queries and one without keys.
Packed make_packed() {
  return {at::randn({300, 4, 16}).requires_grad_(), at::randn({371, 2, 16}).requires_grad_(),
          at::randn({371, 2, 24}).requires_grad_(), at::tensor({0, 150, 150, 167, 290, 300}).to(at::kInt),
          at::tensor({0, 150, 170, 170, 340, 371})};
}

TEST(AttendPacked, EqualsEachSequenceByItself) {
  at::manual_seed(41);
  const Packed t = make_packed();
  AttendOptions options;
  options.causal = CausalAlignment::bottom_right;
  options.relative_table = at::randn({4, 9}).requires_grad_();
  const auto out = attend_packed(t.q, t.k, t.v, t.query_offsets, t.key_offsets, options);
  const auto grad = at::randn_like(out);
  const auto got = torch::autograd::grad({out}, {t.q, t.k, t.v, *options.relative_table}, {grad});

  std::vector<at::Tensor> rows;
  const auto part = [](const at::Tensor& x, const at::Tensor& offsets, int64_t s) {
    return x.slice(0, offsets[s].item<int64_t>(), offsets[s + 1].item<int64_t>())
        .transpose(0, 1)
        .unsqueeze(0);
  };
  for (int64_t s = 0; s < 5; ++s) {
    rows.push_back(attend(part(t.q, t.query_offsets, s), part(t.k, t.key_offsets, s),
                          part(t.v, t.key_offsets, s), options)
                       .out[0]
                       .transpose(0, 1));
  }
  const auto expected = at::cat(rows);
  EXPECT_TRUE(at::equal(out, expected));
  EXPECT_EQ(out.slice(0, 150, 167).abs().max().item<float>(), 0.0f);  // no keys
  const auto exact = torch::autograd::grad({expected}, {t.q, t.k, t.v, *options.relative_table}, {grad});
  for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(at::allclose(got[i], exact[i], 1e-5, 1e-6)) << i;
}

TEST(AttendPacked, DropoutDiffersFromSequenceToSequence) {
  at::manual_seed(42);
  const auto x = at::randn({1, 64, 2, 8}).expand({2, 64, 2, 8}).reshape({128, 2, 8});
  const auto offsets = at::tensor({0, 64, 128});
  AttendOptions options;
  options.dropout_p = 0.5;
  options.seed = 3;
  const auto out = attend_packed(x, x, x, offsets, offsets, options);
  EXPECT_TRUE(at::equal(out, attend_packed(x, x, x, offsets, offsets, options)));
  EXPECT_FALSE(at::equal(out.slice(0, 0, 64), out.slice(0, 64)));
}

TEST(AttendPacked, DrawsASeedOnlyWhereNoneIsGiven) {
  const Packed t = make_packed();
  at::manual_seed(44);
  const at::Tensor next = at::rand({4});
  const auto next_after = [&](std::optional<uint64_t> seed) {
    AttendOptions options;
    options.dropout_p = 0.5;
    options.seed = seed;
    at::manual_seed(44);
    attend_packed(t.q, t.k, t.v, t.query_offsets, t.key_offsets, options);
    return at::rand({4});
  };
  EXPECT_TRUE(at::equal(next_after(3), next));
  EXPECT_FALSE(at::equal(next_after(std::nullopt), next));
}

TEST(AttendPacked, NoSequences) {
  const auto none = at::zeros({0, 2, 8});
  EXPECT_EQ(attend_packed(none, none, none, at::tensor({0}), at::tensor({0})).sizes(),
            (std::vector<int64_t>{0, 2, 8}));
}

void expect_refusal(const at::Tensor& query_offsets, const at::Tensor& key_offsets,
                    const AttendOptions& options, const std::string& text) {
  const Packed t = make_packed();
  try {
    attend_packed(t.q, t.k, t.v, query_offsets, key_offsets, options);
    ADD_FAILURE() << "expected: " << text;
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(e.what()).find(text), std::string::npos) << e.what();
  }
}

TEST(AttendPacked, RefusesOffsetsThatDoNotFit) {
  const Packed t = make_packed();
  const auto& [q, k] = std::pair{t.query_offsets, t.key_offsets};
  expect_refusal(at::tensor({0, 200, 100, 300}), k, {}, "must not descend; found 200 before 100 at 1");
  expect_refusal(at::tensor({0, 299}), k, {}, "query_offsets must go from 0 to the number of rows, 300");
  expect_refusal(at::tensor({1, 300}), k, {}, "found 1 ... 300");
  expect_refusal(at::tensor({0, 300}), k, {}, "count the same sequences; found 1 and 5");
  expect_refusal(q.to(at::kFloat), k, {}, "must be integers of shape (S + 1)");
  AttendOptions masked;
  masked.mask = at::ones({300, 371}, at::kBool);
  expect_refusal(q, k, masked, "an entry for each pair or batch entry");
}

}  // namespace
}  // namespace fovea
