#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "fovea/io/tensors.h"
#include "fovea/nn/attention/lines.h"
#include "fovea/nn/attention/registry.h"
#include "fovea/nn/attention/self_attention.h"
#include "tests/nn/gap.h"
#include "tests/support/errors.h"

// Mechanisms of images beside the proofs that they share with all.

namespace fovea::nn {
namespace {

constexpr double kPlaneRounding = 1e-12;

AttentionInput random_places(const GridPositions& grid, int64_t heads = 2) {
  const auto draw = [&] { return at::randn({2, heads, grid.length(), 4}, at::kDouble); };
  AttentionInput input;
  input.q = draw(), input.k = draw(), input.v = draw();
  input.grid = grid;
  return input;
}

std::shared_ptr<Attention> built_plane(const std::string& text, const AttentionInput& input) {
  auto attention = parse_attention(text).build({input.q.size(1), input.k.size(1), 4, 4, 0, input.grid});
  attention->to(at::kDouble);
  return attention;
}

AttentionOutput result_of(const std::string& text, const AttentionInput& input) {
  return built_plane(text, input)->forward(input);
}

TEST(Axial, OfOneLineIsSoftmax) {
  at::manual_seed(1);
  for (const auto& [grid, other] : {std::pair(GridPositions{1, 12, 0}, "axial:axes=columns"),
                                    std::pair(GridPositions{12, 1, 0}, "axial:axes=rows")}) {
    const AttentionInput input = random_places(grid);
    const at::Tensor full = result_of("softmax", input).out;
    EXPECT_LT(gap(result_of("axial:axes=sequence", input).out, full), kPlaneRounding);
    // Along the other axis a place sees itself alone.
    EXPECT_LT(gap(result_of(other, input).out, input.v), kPlaneRounding);
    EXPECT_LT(gap(result_of("axial", input).out, full + input.v), kPlaneRounding);
  }
}

// Of tokens alone there are no lines.
TEST(Axial, OfTokensIsSoftmax) {
  at::manual_seed(2);
  const AttentionInput input = random_places({0, 0, 7});
  EXPECT_LT(gap(result_of("axial:axes=rows", input).out, result_of("softmax", input).out), kPlaneRounding);
}

// What broadcasts is as good as what is whole: mask, bias, segments, and all that at once with tokens.
TEST(Axial, TakesPairs) {
  at::manual_seed(3);
  for (const GridPositions grid : {GridPositions{3, 4, 0}, GridPositions{3, 4, 2}}) {
    const int64_t n = grid.length();
    for (const char* text : {"axial:axes=rows", "axial:axes=columns", "axial", "axial:axes=sequence"}) {
      AttentionInput input = random_places(grid), same = input;
      const at::Tensor seen = at::rand({n}) < 0.7, keys = at::randn({2, 1, 1, n}, at::kDouble);
      input.call.mask = seen, input.call.bias = keys;
      same.call.mask = seen.expand({2, 2, n, n}), same.call.bias = keys.expand({2, 2, n, n}).contiguous();
      EXPECT_LT(gap(result_of(text, input).out, result_of(text, same).out), kPlaneRounding) << text;
      // The scores of a key that is hidden from all do not count.
      same = input;
      same.call.mask.reset();
      same.call.bias = keys.masked_fill(seen.logical_not(), -1e300);
      EXPECT_LT(gap(result_of(text, input).out, result_of(text, same).out), kPlaneRounding) << text;
      AttentionInput parts = random_places(grid), masked = parts;
      const at::Tensor ids = at::arange(n).remainder(2).expand({2, n});
      parts.call.segments = AttendSegments{ids, ids};
      masked.call.mask = (ids.unsqueeze(2) == ids.unsqueeze(1)).unsqueeze(1);
      EXPECT_LT(gap(result_of(text, parts).out, result_of(text, masked).out), kPlaneRounding) << text;
    }
  }
}

TEST(Axial, WeightsAreThoseOfItsResult) {
  at::manual_seed(4);
  for (const GridPositions grid : {GridPositions{3, 4, 0}, GridPositions{3, 4, 2}}) {
    for (const char* text : {"axial:axes=rows", "axial:axes=columns", "axial", "axial:axes=sequence"}) {
      for (const double dropped : {0.0, 0.4}) {
        AttentionInput input = random_places(grid);
        input.call.weights = true;
        input.call.dropout_p = dropped, input.call.seed = 5;
        const AttentionOutput result = result_of(text, input);
        EXPECT_LT(gap(at::matmul(result.weights, input.v), result.out), kPlaneRounding) << text;
        const double each = std::string(text) == "axial" ? 2.0 : 1.0;
        if (dropped == 0.0) {
          EXPECT_LT(gap(result.weights.sum(-1), at::full({}, each)), kPlaneRounding) << text;
        }
      }
    }
  }
}

// Of places that are all alike, in a grid that is its own mirror image.
TEST(Axial, DropsOtherPairsAlongColumnsThanAlongRows) {
  AttentionInput input = random_places({12, 12, 0});
  input.q = at::zeros_like(input.q), input.v = at::ones_like(input.v);
  input.call.dropout_p = 0.5, input.call.seed = 5;
  const auto kept = [&](const std::string& text) {
    return result_of(text, input).out.select(3, 0).unflatten(2, {12, 12});
  };
  const at::Tensor rows = kept("axial:axes=rows"), columns = kept("axial:axes=columns");
  EXPECT_GT(rows.std().item<double>(), 0.1);
  EXPECT_GT(gap(rows, columns), 0.1);
  EXPECT_GT(gap(rows, columns.transpose(2, 3)), 0.1);
}

TEST(Axial, CostIsThePairsOfItsGrid) {
  at::manual_seed(5);
  for (const GridPositions grid : {GridPositions{3, 7, 0}, GridPositions{3, 7, 2}}) {
    AttentionInput input = random_places(grid);
    input.call.weights = true;
    const int64_t n = grid.length();
    for (const char* text : {"axial:axes=rows", "axial:axes=columns"}) {
      const auto attention = built_plane(text, input);
      const at::Tensor pairs = (attention->forward(input).weights[0][0] > 0).sum();
      EXPECT_EQ(attention->cost(n, n, 1).multiply_adds, 2 * pairs.item<int64_t>()) << text;
    }
  }
}

// A host's q, k and v are strided: rows of every image, and columns of one, are views.
TEST(Axial, LinesOfAHostAreViews) {
  const at::Tensor qkv = at::randn({2, 12, 3, 2, 4}).permute({2, 0, 3, 1, 4});
  const at::Tensor q = qkv[0], one = q.narrow(0, 0, 1);
  EXPECT_TRUE(GridLines({3, 4, 0}, GridAxis::rows).queries(q).is_alias_of(q));
  EXPECT_TRUE(GridLines({3, 4, 0}, GridAxis::rows).queries(one).is_alias_of(q));
  EXPECT_TRUE(GridLines({3, 4, 0}, GridAxis::columns).queries(one).is_alias_of(q));
}

// Denormal weights make the products tens of times as slow: energies here are 0 ... 127 below the largest.
TEST(Channel, HasNoDenormalWeights) {
  const int64_t size = 128;
  AttentionInput input;
  input.q = at::zeros({1, 1, size, size});
  input.q.select(2, 0).fill_(1.0);
  input.k = at::zeros({1, 1, size, size});
  input.k.select(2, 0).copy_(at::arange(size));
  input.v = at::eye(size).view({1, 1, size, size});
  const auto attention = parse_attention("channel:score=paper").build({1, 1, size, size});
  const at::Tensor weights = attention->forward(input).out,
                   exact = at::softmax(at::arange(size, at::kDouble), 0);
  EXPECT_FALSE(((weights > 0) & (weights < std::numeric_limits<float>::min())).any().item<bool>());
  EXPECT_GT((weights > 0).sum().item<int64_t>(), 70 * size);
  EXPECT_TRUE(at::allclose(weights.to(at::kDouble), exact.view({1, 1, size, 1}), 1e-5, 1e-32));
}

TEST(Plane, StandsInAHost) {
  at::manual_seed(6);
  SelfAttentionOptions options;
  options.dim = 8, options.num_heads = 2, options.grid = GridPositions{3, 4, 1};
  for (const char* text : {"axial", "channel", "position", "double", "conv_augmented"}) {
    options.attention = text;
    SelfAttention layer(options);
    const at::Tensor x = at::randn({2, 13, 8}).requires_grad_();
    layer->forward(x).square().sum().backward();
    EXPECT_GT(x.grad().abs().max().item<double>(), 0.0) << text;
  }
  options.grid.reset();
  for (const char* text : {"axial", "conv_augmented"}) {
    options.attention = text;
    expect_error(ErrorKind::usage, {text, "a grid of rows and columns", "rows and columns as `grid`"},
                 [&] { SelfAttention layer(options); });
  }
}

TEST(Plane, RefusesWhatDoesNotFit) {
  const auto refuses = [](const std::string& text, const std::string& part, auto&& change) {
    AttentionInput input = random_places({3, 4, 0});
    const auto attention = built_plane(text, input);
    change(input);
    expect_error(ErrorKind::usage, {part}, [&] { attention->forward(input); });
  };
  for (const char* text : {"axial", "conv_augmented"}) {
    refuses(text, "a grid of rows and columns", [](auto& in) { in.grid.reset(); });
    refuses(text, "a grid of 3 x 5", [](auto& in) { in.grid->columns = 5; });
    refuses(text, "a grid of -3 x -4", [](auto& in) { in.grid = GridPositions{-3, -4, 0}; });
    refuses(text, "a grid of 4294967296 x 4294967296", [](auto& in) {
      in.grid = GridPositions{int64_t{1} << 32, int64_t{1} << 32, 12};
    });
  }
  refuses("axial", "slopes and tables", [](auto& in) { in.call.alibi_slopes = at::ones({2}); });
  refuses("axial", "a mask of blocks", [](auto& in) {
    in.call.blocks = AttendBlocks{at::ones({1, 1, 1, 1}, at::kBool), 64};
  });
  refuses("axial", "broadcastable", [](auto& in) { in.call.mask = at::ones({5, 12}, at::kBool); });
  refuses("axial", "key_lengths", [](auto& in) { in.call.key_lengths = at::ones({3}, at::kLong); });
  refuses("axial", "observation", [](auto& in) { in.call.observe.entropy = true; });
  refuses("conv_augmented", "the one that it was built for; found 4 x 3", [](auto& in) {
    in.grid = GridPositions{4, 3, 0};
  });
  for (const char* text : {"channel", "double"}) {
    refuses(text, "causal order", [](auto& in) { in.call.causal = CausalAlignment::top_left; });
    refuses(text, "no masks", [](auto& in) { in.call.mask = at::ones({12, 12}, at::kBool); });
  }
  for (const char* text : {"channel", "double"}) {
    const char* rule = "integers of shape (B)";
    refuses(text, rule, [](auto& in) { in.call.key_lengths = at::ones({2}); });
    refuses(text, rule, [](auto& in) { in.call.key_lengths = at::ones({3}, at::kLong); });
  }
  refuses("channel", "no weights", [](auto& in) { in.call.weights = true; });
  expect_error(ErrorKind::usage, {"[channel] channels of values"}, [] {
    parse_attention("channel").build({2, 2, 4, 6});
  });
  expect_error(ErrorKind::usage, {"[conv_augmented]", "a sequence without one"}, [] {
    parse_attention("conv_augmented").build({2, 2, 4, 4});
  });
  for (const int64_t rows : {int64_t{-1}, int64_t{1} << 40}) {
    expect_error(ErrorKind::usage, {"[conv_augmented] a grid has at most 65536 rows"}, [&] {
      parse_attention("conv_augmented").build({2, 2, 4, 4, 0, GridPositions{rows, 1, 0}});
    });
  }
}

// One of scripts/parity_tests/plane_golden.py, with the mechanism between its projections.
class PlanePeer {
 public:
  explicit PlanePeer(std::string name) : name_(std::move(name)) {}

  const at::Tensor& number(const std::string& key) const {
    static const io::TensorMap all = io::load_tensors(FOVEA_TEST_DATA "/nn/plane.safetensors");
    return all.at(name_ + "." + key);
  }
  const at::Tensor& weight(const std::string& key) {
    at::Tensor& held = weights_[key];
    if (!held.defined()) held = number("weight." + key).clone().requires_grad_();
    return held;
  }
  // x (B, rows, columns, E) -> the same, by the projections of `axis`, with `biases` times that of the last.
  at::Tensor attend_axes(const std::string& text, const std::string& axis, const at::Tensor& x,
                         double biases) {
    const int64_t heads = 2, size = x.size(3) / heads;
    const auto of_heads = [&](const at::Tensor& t) { return t.unflatten(2, {heads, size}).transpose(1, 2); };
    const at::Tensor rows = x.flatten(1, 2);
    const auto kv = at::linear(rows, weight(axis + ".to_kv.weight")).chunk(2, -1);
    AttentionInput input;
    input.grid = GridPositions{x.size(1), x.size(2), 0};
    input.q = of_heads(at::linear(rows, weight(axis + ".to_q.weight")));
    input.k = of_heads(kv[0]), input.v = of_heads(kv[1]);
    const at::Tensor out = parse_attention(text).build({heads, heads, size, size})->forward(input).out;
    return at::linear(out.transpose(1, 2).flatten(2), weight(axis + ".to_out.weight"),
                      weight(axis + ".to_out.bias") * biases)
        .view_as(x);
  }
  void expect_equal(const at::Tensor& out, const at::Tensor& x) {
    EXPECT_LT(gap(out, number("out")), kPlaneRounding);
    (out * number("seen")).sum().backward();
    EXPECT_LT(gap(x.grad(), number("grad.x")), kPlaneRounding);
  }
  const std::map<std::string, at::Tensor>& weights() const { return weights_; }

 private:
  std::string name_;
  std::map<std::string, at::Tensor> weights_;
};

TEST(PlanePeers, AxialAttention) {
  PlanePeer sum("sum");
  at::Tensor x = sum.number("x").clone().requires_grad_();
  sum.expect_equal(sum.attend_axes("axial", "rows", x, 2.0), x);
  for (const auto& [key, tensor] : sum.weights()) {
    // Both axes have this gradient together.
    const std::string other = "grad.columns." + key.substr(key.find('.') + 1);
    EXPECT_LT(gap(tensor.grad(), sum.number("grad." + key) + sum.number(other)), kPlaneRounding) << key;
  }
  PlanePeer steps("steps");
  x = steps.number("x").clone().requires_grad_();
  const at::Tensor columns = steps.attend_axes("axial:axes=columns", "columns", x, 1.0);
  steps.expect_equal(steps.attend_axes("axial:axes=rows", "rows", columns, 1.0), x);
  for (const auto& [key, tensor] : steps.weights()) {
    EXPECT_LT(gap(tensor.grad(), steps.number("grad." + key)), kPlaneRounding) << key;
  }
}

}  // namespace
}  // namespace fovea::nn
