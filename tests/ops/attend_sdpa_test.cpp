#include "fovea/ops/attend_sdpa.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <string>
#include <vector>

#include "fovea/ops/attend_composed.h"
#include "fovea/ops/attend_similarity.h"
#include "tests/ops/attend_cases.h"
#include "tests/ops/tensors.h"
#include "tests/support/numbers.h"

// On the CPU, where PyTorch's function is the same but for its kernels.

namespace fovea {
namespace {

using test::AttendCase, test::Operands, test::difference;

std::string reason(const Operands& t, const AttendOptions& options) {
  return std::string(why_not_in_sdpa(t.q, t.k, t.v, options).value_or(""));
}

// Of q, k, v and what the options learn.
std::vector<at::Tensor> gradients(const at::Tensor& out, const std::vector<at::Tensor>& inputs) {
  return torch::autograd::grad({out}, inputs, {at::cos(out.detach())});
}

void learn(std::optional<at::Tensor>& t, std::vector<at::Tensor>& inputs) {
  if (t) inputs.push_back(t->requires_grad_());
}

TEST(AttendSdpa, EqualsTheDefinition) {
  at::manual_seed(71);
  int run = 0;
  for (AttendCase c : test::random_cases(test::scaled(120), 71)) {
    c.type = at::kDouble;
    Operands t = test::make_operands(c);
    AttendOptions options = test::make_options(c);
    if (!reason(t, options).empty()) continue;
    ++run;
    std::vector<at::Tensor> inputs = {t.q.requires_grad_(), t.k.requires_grad_(), t.v.requires_grad_()};
    learn(options.bias, inputs);
    learn(options.relative_table, inputs);
    learn(options.alibi_slopes, inputs);
    const at::Tensor out = attend_sdpa(t.q, t.k, t.v, options).out,
                     exact = attend_composed(t.q, t.k, t.v, options).out;
    EXPECT_LT(difference(out, exact), 1e-12) << c.name();
    const auto found = gradients(out, inputs), expected = gradients(exact, inputs);
    for (size_t i = 0; i < inputs.size(); ++i) {
      EXPECT_LT(difference(found[i], expected[i]), 1e-11 * (1 + expected[i].abs().max().item<double>()))
          << c.name() << " input " << i;
    }
  }
  EXPECT_GT(run, 40);
}

TEST(AttendSdpa, AFullyMaskedRowGivesZeroAndNoGradient) {
  at::manual_seed(72);
  for (const bool biased : {false, true}) {
    const at::Tensor q = at::randn({2, 2, 5, 8}).requires_grad_(), k = at::randn({2, 2, 7, 8}),
                     v = at::randn({2, 2, 7, 8});
    AttendOptions options;
    options.key_lengths = at::tensor({0, 7}, at::kInt);
    if (biased) options.bias = at::randn({5, 7});
    const at::Tensor out = attend_sdpa(q, k, v, options).out;
    EXPECT_TRUE(at::equal(out[0], at::zeros({2, 5, 8})));
    EXPECT_GT(out[1].abs().min().item<double>(), 0.0);
    const at::Tensor grad = torch::autograd::grad({out}, {q}, {at::ones_like(out)})[0];
    EXPECT_TRUE(at::equal(grad[0], at::zeros({2, 5, 8})));
    EXPECT_TRUE(at::isfinite(grad).all().item<bool>());
  }
}

TEST(AttendSdpa, CosineGridAndRelativeKeys) {
  const Operands t = test::make_operands({2, 2, 2, 12, 12, 8, 8, at::kDouble, "contiguous", "none"});
  AttendOptions cosine, grid, keys;
  cosine.similarity = Cosine{4.0};
  grid.relative_grid = AttendGrid{at::randn({2, 5 * 7}, at::kDouble), 3, 4};
  keys.relative_keys = at::randn({2, 9, 8}, at::kDouble);
  for (const AttendOptions& options : {cosine, grid, keys}) {
    with_operands(t.q, t.k, options, [&](const at::Tensor& q, const at::Tensor& k) {
      EXPECT_FALSE(why_not_in_sdpa(q, k, t.v, options));
      EXPECT_LT(difference(attend_sdpa(q, k, t.v, options).out, attend_composed(q, k, t.v, options).out),
                1e-12);
    });
  }
}

// What a mask hides may be NaN, and the function would spread it: the definition runs instead.
TEST(AttendSdpa, LeavesHiddenNanToTheDefinition) {
  Operands t = test::make_operands({1, 2, 2, 9, 9, 8, 8, at::kFloat, "contiguous", "none"});
  AttendOptions plain, causal, masked;
  causal.causal = CausalAlignment::top_left;
  masked.mask = at::ones({9, 9}, at::kBool).tril();
  for (const at::Tensor& spoilt : {t.q, t.k, t.v}) {
    const float kept = spoilt[0][1][8][3].item<float>();
    for (const double poison : {test::kNan, test::kInfinity}) {
      spoilt[0][1][8][3].fill_(poison);
      EXPECT_EQ(reason(t, plain), "");
      EXPECT_EQ(reason(t, causal), "it lets hidden NaN and infinity through");
      EXPECT_EQ(reason(t, masked), "it lets hidden NaN and infinity through");
    }
    spoilt[0][1][8][3].fill_(kept);
    EXPECT_EQ(reason(t, causal), "");
  }
}

TEST(AttendSdpa, SaysWhatItHasNoWordsFor) {
  const Operands t = test::make_operands({1, 2, 2, 9, 9, 8, 8, at::kFloat, "contiguous", "none"});
  const auto expect = [&](const char* text, const std::function<void(AttendOptions&)>& ask) {
    AttendOptions options;
    ask(options);
    EXPECT_EQ(reason(t, options), text);
  };
  expect("", [](AttendOptions& o) { o.scale = 0.5; });
  expect("", [](AttendOptions& o) { o.window = AttendWindow{3, 0}; });
  expect("the score is Gaussian", [](AttendOptions& o) { o.similarity = Gaussian{1.0}; });
  expect("it takes no functors", [](AttendOptions& o) { o.functors = bind(Identity{}, Causal()); });
  expect("it has no soft cap", [](AttendOptions& o) { o.softcap = 3.0; });
  expect("its dropout has another generator", [](AttendOptions& o) { o.dropout_p = 0.1; });
  expect("the weights are asked for", [](AttendOptions& o) { o.weights = true; });
  expect("the log-sum-exp is asked for", [](AttendOptions& o) { o.lse = true; });
  expect("the normaliser is not softmax", [](AttendOptions& o) { o.normaliser = Sigmoid{}; });
  AttendOptions biased;
  biased.bias = at::zeros({9, 9});
  const Operands half = {t.q.to(at::kHalf), t.k.to(at::kHalf), t.v.to(at::kHalf)};
  EXPECT_EQ(reason(t, biased), "");
  EXPECT_EQ(reason(half, biased), "it would add biases in a half type");
  EXPECT_EQ(reason({t.q.slice(2, 0, 0), t.k, t.v}, {}), "a tensor is empty");
}

// As of a CUDA device, without memory there: enough to ask what would run.
at::Tensor elsewhere(at::IntArrayRef shape) {
  const c10::Device device(c10::kCUDA, 0);
  const at::Tensor t = at::detail::make_tensor<c10::TensorImpl>(
      c10::Storage(c10::Storage::use_byte_size_t(), 0, c10::DataPtr(nullptr, device), nullptr, false),
      c10::DispatchKeySet(c10::DispatchKey::CUDA), caffe2::TypeMeta::Make<float>());
  t.unsafeGetTensorImpl()->set_sizes_contiguous(shape);
  return t;
}

TEST(AttendSdpa, IsWhatRunsOnOtherDevices) {
  const at::Tensor q = elsewhere({2, 6, 5, 8}), k = elsewhere({2, 2, 7, 8});
  EXPECT_EQ(attend_choice(q, k, k).name, "sdpa");
  AttendOptions capped;
  capped.softcap = 30.0;
  EXPECT_EQ(attend_choice(q, k, k, capped).name, "composed");
  EXPECT_EQ(attend_choice(q, k, k, capped).refusals.back(), "sdpa: it has no soft cap");
  const at::Tensor on_cpu = at::zeros({2, 6, 5, 300});
  EXPECT_EQ(attend_choice(on_cpu, on_cpu, on_cpu).refusals.back(), "sdpa: the tensors are on the CPU");
}

// Meta tensors stand for those of another device.
TEST(AttendSdpa, TheDefinitionRunsOnAnyDevice) {
  const auto meta = [](at::IntArrayRef shape) {
    return at::empty(shape, at::TensorOptions().device(at::kMeta).dtype(at::kHalf));
  };
  const at::Tensor q = meta({2, 6, 5, 8}), k = meta({2, 2, 7, 8}), v = meta({2, 2, 7, 12});
  AttendOptions options;
  options.softcap = 30.0;
  options.bias = meta({6, 5, 7});
  options.weights = true;
  const AttendResult result = attend(q, k, v, options);
  EXPECT_TRUE(result.out.is_meta() && result.out.sizes().equals({2, 6, 5, 12}));
  EXPECT_EQ(result.out.scalar_type(), at::kHalf);
  EXPECT_TRUE(result.weights.sizes().equals({2, 6, 5, 7}));
}

}  // namespace
}  // namespace fovea
