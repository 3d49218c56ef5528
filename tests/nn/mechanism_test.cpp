#include "fovea/nn/attention/mechanism.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "fovea/nn/attention/registry.h"
#include "fovea/nn/attention/self_attention.h"
#include "fovea/nn/meta_device.h"
#include "fovea/ops/additive_attend.h"
#include "tests/support/errors.h"

namespace fovea::nn {
namespace {

struct Qkv {
  at::Tensor q = at::randn({2, 4, 20, 8}, at::kDouble), k = at::randn({2, 4, 30, 8}, at::kDouble),
             v = at::randn({2, 4, 30, 8}, at::kDouble);
};

at::Tensor run(const std::string& text, const Qkv& t) {
  return attend(t.q, t.k, t.v, attend_options(parse_mechanism(text), 4)).out;
}

double difference(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

using Pairs = std::function<at::Tensor(const at::Tensor& i, const at::Tensor& j)>;

TEST(Mechanism, HidesWhatItsFormulaSays) {
  at::manual_seed(1);
  const Qkv t;
  const auto near = [](int64_t width) {
    return [width](const at::Tensor& i, const at::Tensor& j) { return (i - j).abs() <= width; };
  };
  const std::vector<std::pair<std::string, Pairs>> cases = {
      {"softmax:causal=true", [](auto& i, auto& j) { return j <= i; }},
      {"softmax:causal=top_left", [](auto& i, auto& j) { return j <= i; }},
      {"softmax:causal=bottom_right", [](auto& i, auto& j) { return j <= i + 10; }},
      {"softmax:causal=false,window=4", near(4)},
      {"softmax:window_left=3", [](auto& i, auto& j) { return i - j <= 3; }},
      {"softmax:window_left=3,window_right=1", [](auto& i, auto& j) { return (i - j <= 3) & (j - i <= 1); }},
      {"local", near(10)},
      {"local:window=2", near(2)},
      {"longformer:window=3,global=2",
       [](auto& i, auto& j) { return ((i - j).abs() <= 3) | (i < 2) | (j < 2); }},
      {"longformer:window=8,global=0,dilation=3",
       [](auto& i, auto& j) { return ((i - j).abs() <= 8) & ((i - j).remainder(3) == 0); }},
      {"softmax:dilation=2,causal=true",
       [](auto& i, auto& j) { return (j <= i) & ((i - j).remainder(2) == 0); }},
      {"sparse_strided:stride=4",
       [](auto& i, auto& j) { return (j <= i) & ((i - j <= 4) | ((i - j).remainder(4) == 0)); }},
  };
  for (const auto& [text, allowed] : cases) {
    AttendOptions options;
    options.mask = allowed(at::arange(20).unsqueeze(1), at::arange(30));
    EXPECT_LT(difference(run(text, t), attend(t.q, t.k, t.v, options).out), 1e-14) << text;
  }
}

TEST(Mechanism, ScoresAndNormalisesAsItSays) {
  at::manual_seed(2);
  const Qkv t;
  const auto expect = [&](const std::string& text, const std::function<void(AttendOptions&)>& ask) {
    AttendOptions options;
    ask(options);
    EXPECT_LT(difference(run(text, t), attend(t.q, t.k, t.v, options).out), 1e-7) << text;
  };
  expect("softmax", [](AttendOptions&) {});
  expect("softmax:scale=-0.25", [](AttendOptions& o) { o.scale = -0.25; });
  expect("dot", [](AttendOptions& o) { o.scale = 1.0; });
  expect("softmax:softcap=1.5", [](AttendOptions& o) { o.softcap = 1.5; });
  expect("softmax_sink", [](AttendOptions& o) { o.normaliser = SoftmaxSink{}; });
  expect("sigmoid", [](AttendOptions& o) { o.normaliser = Sigmoid{}; });
  expect("sigmoid:sigmoid_bias=-2", [](AttendOptions& o) { o.normaliser = Sigmoid{-2.0}; });
  expect("sparsemax", [](AttendOptions& o) { o.normaliser = Sparsemax{}; });
  expect("entmax", [](AttendOptions& o) { o.normaliser = Entmax15{}; });
  expect("softmax:normaliser=entmax15", [](AttendOptions& o) { o.normaliser = Entmax15{}; });
  const at::Tensor slopes = at::tensor({0.25, 0.0625, 0.015625, 0.00390625});
  expect("softmax:alibi=true", [&](AttendOptions& o) { o.alibi_slopes = slopes; });
  expect("local:alibi=true,window=4", [&](AttendOptions& o) {
    o.alibi_slopes = slopes;
    o.window = AttendWindow{4, 4};
  });
}

TEST(Mechanism, ExactLimits) {
  at::manual_seed(3);
  const Qkv t;
  const at::Tensor full = run("softmax", t), causal = run("softmax:causal=true", t);
  for (const char* text : {"local:window=29", "longformer:window=29", "longformer:window=0,global=30"}) {
    EXPECT_LT(difference(run(text, t), full), 1e-14) << text;
  }
  EXPECT_LT(difference(run("sparse_strided:stride=1", t), causal), 1e-14);
}

// Of the code that the paper came with, for 8 and 12 heads.
TEST(Mechanism, AlibiSlopes) {
  const auto expect = [](int64_t heads, const std::vector<double>& exponents) {
    const at::Tensor expected = at::exp2(at::tensor(exponents)).to(at::kFloat);
    EXPECT_LT(difference(alibi_slopes(heads), expected), 1e-7) << heads;
  };
  expect(1, {-8});
  expect(8, {-1, -2, -3, -4, -5, -6, -7, -8});
  expect(12, {-1, -2, -3, -4, -5, -6, -7, -8, -0.5, -1.5, -2.5, -3.5});
}

TEST(Mechanism, PathIsWhatRuns) {
  const at::Tensor t = at::randn({1, 4, 64, 8}), one = t.slice(2, 0, 1);
  for (const auto& entry : mechanism_entries()) {
    const Mechanism mechanism = parse_mechanism(entry.name);
    const AttendOptions options = attend_options(mechanism, 4);
    const auto choice = mechanism.is_additive() ? additive_attend_choice(t, t, t, at::ones({8}), options)
                                                : attend_choice(t, t, t, options);
    EXPECT_TRUE(entry.path.ends_with(choice.name)) << entry.name << ' ' << choice.name;
    if (entry.path.starts_with("decode")) {
      EXPECT_EQ(attend_choice(one, t, t, options).name, "decode");
    }
  }
}

TEST(Mechanism, RefusesWhatItDoesNotKnow) {
  const auto refuses = [](const std::string& text, const std::string& part) {
    expect_error(ErrorKind::usage, {part}, [&] { parse_mechanism(text); });
  };
  for (const auto& option : mechanism_options()) refuses("softmax:" + option.name + "=?", "found");
  refuses("sofmax", "Did you mean 'softmax'?");
  refuses("softmax:casual=true", "[softmax] the option 'casual' is unknown. Did you mean 'causal'?");
  refuses("softmax:normaliser=sigmod", "Did you mean 'sigmoid'?");
  refuses("softmax:causal", "options are written key=value");
  refuses("softmax:causal=true,causal=false", "each option is given once; found 'causal'");
  refuses("softmax:causal=yes", "causal must be true, false or bottom_right; found 'yes'");
  refuses("softmax:alibi=1", "alibi must be true or false");
  refuses("softmax:window=-1", "window must be a whole number from 0; found '-1'");
  refuses("softmax:window=2.5", "window must be a whole number from 0");
  refuses("softmax:dilation=0", "dilation must be a whole number from 1");
  refuses("softmax:softcap=0", "softcap must be a number above 0");
  refuses("softmax:scale=nan", "scale must be a number");
  refuses("softmax:scale=1e999", "scale must be a number");
  refuses("additive:scale=2", "scale must be left out");
  refuses("softmax:sigmoid_bias=1", "sigmoid_bias belongs to the normaliser sigmoid; found softmax");
  refuses("sparse_strided:global=1", "stride goes with neither global nor dilation");
}

TEST(Mechanism, SelfAttentionRunsIt) {
  at::manual_seed(4);
  const at::Tensor x = at::randn({2, 9, 12}, at::kDouble);
  SelfAttentionOptions options;
  options.dim = 12, options.num_heads = 3, options.attention = "local:window=2";
  SelfAttention layer(options);
  layer->to(at::kDouble);
  const auto parts = layer->qkv->forward(x).reshape({2, 9, 3, 3, 4}).permute({2, 0, 3, 1, 4}).unbind(0);
  AttendOptions window;
  window.window = AttendWindow{2, 2};
  const at::Tensor joined =
      attend(parts[0], parts[1], parts[2], window).out.transpose(1, 2).reshape({2, 9, 12});
  EXPECT_LT(difference(layer->forward(x), layer->proj->forward(joined)), 1e-14);
}

TEST(Mechanism, AdditiveSelfAttentionLearns) {
  SelfAttentionOptions options;
  options.dim = 12, options.num_heads = 3, options.attention = "additive:causal=true";
  SelfAttention layer(options);
  EXPECT_TRUE(layer->named_parameters().contains("w"));
  layer->forward(at::randn({2, 9, 12})).square().sum().backward();
  EXPECT_EQ(layer->w.grad().sizes(), (std::vector<int64_t>{3, 4}));
  EXPECT_GT(layer->w.grad().abs().max().item<double>(), 0.0);
}

TEST(Mechanism, HasShapesOnTheMetaDevice) {
  const MetaDeviceScope meta;
  for (const auto& entry : mechanism_entries()) {
    for (const char* more : {"", ":alibi=true", ":causal=bottom_right"}) {
      SelfAttentionOptions options;
      options.dim = 12, options.num_heads = 3, options.attention = entry.name + more;
      SelfAttention layer(options);
      const at::Tensor out = layer->forward(at::empty({2, 9, 12}));
      EXPECT_TRUE(out.is_meta() && out.sizes().equals({2, 9, 12})) << options.attention;
    }
  }
}

}  // namespace
}  // namespace fovea::nn
