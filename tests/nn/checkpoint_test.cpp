#include "fovea/nn/checkpoint.h"

#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <time.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include <algorithm>
#include <cstdio>

#include "fovea/core/error.h"
#include "fovea/nn/layers.h"
#include "fovea/nn/recompute.h"
#include "fovea/nn/saved_tensors.h"

namespace fovea::nn {
namespace {

namespace tnn = torch::nn;
using Tensors = std::vector<at::Tensor>;

// Batch norm and dropout, with a ReLU in place: what checkpointing gets wrong most easily.
struct ConvBlock : tnn::Module {
  explicit ConvBlock(double drop = 0.3) {
    conv1 = register_module("conv1", tnn::Conv2d(tnn::Conv2dOptions(4, 8, 3).padding(1)));
    norm = register_module("norm", tnn::BatchNorm2d(8));
    dropout = register_module("dropout", tnn::Dropout(drop));
    conv2 = register_module("conv2", tnn::Conv2d(tnn::Conv2dOptions(8, 4, 3).padding(1)));
  }
  at::Tensor forward(const at::Tensor& x) {
    ++calls;
    at::Tensor hidden = norm->forward(conv1->forward(x));
    hidden.relu_();
    return x + conv2->forward(dropout->forward(hidden)).tanh();
  }
  tnn::Conv2d conv1{nullptr}, conv2{nullptr};
  tnn::BatchNorm2d norm{nullptr};
  tnn::Dropout dropout{nullptr};
  int calls = 0;
};

// A pre-norm MLP of a transformer.
struct MlpBlock : tnn::Module {
  explicit MlpBlock(int64_t dim) {
    norm = register_module("norm", tnn::LayerNorm(tnn::LayerNormOptions({dim})));
    fc1 = register_module("fc1", tnn::Linear(dim, 4 * dim));
    fc2 = register_module("fc2", tnn::Linear(4 * dim, dim));
  }
  at::Tensor forward(const at::Tensor& x) {
    return x + fc2->forward(at::gelu(fc1->forward(norm->forward(x))));
  }
  tnn::LayerNorm norm{nullptr};
  tnn::Linear fc1{nullptr}, fc2{nullptr};
};

// Its result depends on a buffer that it changes itself, as spectral norm's does.
struct PowerIteration : tnn::Module {
  PowerIteration() {
    weight = register_parameter("weight", at::randn({6, 6}));
    u = register_buffer("u", at::randn({6}));
  }
  at::Tensor forward(const at::Tensor& x) {
    {
      const at::NoGradGuard guard;
      const at::Tensor next = at::mv(weight, u);
      u.copy_(next / next.norm());
    }
    return at::matmul(x, weight / u.dot(at::mv(weight, u))).sigmoid();
  }
  at::Tensor weight, u;
};

double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

enum class Mode { plain, checkpointed };

template <class Module>
at::Tensor call(Mode mode, const std::shared_ptr<Module>& module, const at::Tensor& x) {
  return mode == Mode::plain ? module->forward(x) : checkpoint(module, x);
}

// Everything that one training step leaves behind, and the next random number.
template <class Module>
Tensors step(Mode mode, const std::function<std::shared_ptr<Module>()>& make, const at::Tensor& input,
             bool input_gradient = true) {
  at::manual_seed(11);
  const auto module = make();
  const at::Tensor x = input.clone().requires_grad_(input_gradient);
  // Not a leaf, as inside a network.
  const at::Tensor y = call(mode, module, input_gradient ? x * 1.5 : x);
  (y * y).sum().backward();
  Tensors result = {y};
  if (input_gradient) result.push_back(x.grad());
  for (const auto& parameter : module->parameters()) result.push_back(parameter.grad());
  for (const auto& buffer : module->buffers()) result.push_back(buffer);
  result.push_back(at::rand({4}));
  return result;
}

void expect_same(const Tensors& found, const Tensors& wanted) {
  ASSERT_EQ(found.size(), wanted.size());
  for (size_t i = 0; i < found.size(); ++i) {
    ASSERT_TRUE(found[i].defined() && wanted[i].defined()) << "tensor " << i;
    EXPECT_TRUE(at::equal(found[i], wanted[i])) << "tensor " << i;
  }
}

const std::function<std::shared_ptr<ConvBlock>()> make_conv = [] { return std::make_shared<ConvBlock>(); };

std::string usage_error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "no error";
}

// Gradients, running statistics, batches counted, random state: all to the bit.
TEST(Checkpoint, AStepEqualsThePlainStep) {
  at::manual_seed(1);
  const at::Tensor x = at::randn({3, 4, 9, 9});
  const Tensors plain = step(Mode::plain, make_conv, x);
  EXPECT_EQ(plain.size(), 2 + 6 + 3 + 1);
  EXPECT_EQ(plain[10].item<int64_t>(), 1);  // num_batches_tracked
  expect_same(step(Mode::checkpointed, make_conv, x), plain);
}

TEST(Checkpoint, ParametersGetTheirGradientWhenTheInputNeedsNone) {
  at::manual_seed(1);
  const at::Tensor x = at::randn({3, 4, 9, 9});
  expect_same(step(Mode::checkpointed, make_conv, x, false), step(Mode::plain, make_conv, x, false));
  const auto embedding = std::make_shared<tnn::EmbeddingImpl>(5, 3);
  const at::Tensor indices = at::tensor({1, 4, 4}, at::kLong);
  checkpoint(embedding, indices).sum().backward();
  EXPECT_TRUE(at::equal(embedding->weight.grad().sum(1), at::tensor({0.0f, 3.0f, 0.0f, 0.0f, 6.0f})));
}

TEST(Checkpoint, BuffersThatTheResultDependsOn) {
  at::manual_seed(1);
  const std::function<std::shared_ptr<PowerIteration>()> make = [] {
    return std::make_shared<PowerIteration>();
  };
  const at::Tensor x = at::randn({5, 6});
  expect_same(step(Mode::checkpointed, make, x), step(Mode::plain, make, x));
}

TEST(Checkpoint, AutogradGradFindsParametersAndInputs) {
  at::manual_seed(2);
  const auto module = std::make_shared<ConvBlock>(0.0);
  const at::Tensor x = at::randn({2, 4, 5, 5}).requires_grad_();
  Tensors wanted = module->parameters();
  wanted.push_back(x);
  const auto gradients = [&](Mode mode) {
    return torch::autograd::grad({call(mode, module, x).pow(2).sum()}, wanted);
  };
  expect_same(gradients(Mode::checkpointed), gradients(Mode::plain));
  for (const auto& parameter : module->parameters()) EXPECT_FALSE(parameter.grad().defined());
}

TEST(Checkpoint, RetainedGraphsAndSecondDerivatives) {
  at::manual_seed(3);
  const auto module = std::make_shared<MlpBlock>(6);
  const at::Tensor x = at::randn({4, 6}).requires_grad_();
  Tensors wanted = module->parameters();
  wanted.push_back(x);
  const auto run = [&](Mode mode) {
    const at::Tensor y = call(mode, module, x);
    const auto kept = torch::autograd::grad({y.sum()}, {x}, {}, /*retain_graph=*/true);
    const auto first = torch::autograd::grad({y.pow(2).sum()}, {x}, {}, true, /*create_graph=*/true);
    Tensors all =
        torch::autograd::grad({first[0].pow(2).sum()}, wanted, {}, false, false, /*allow_unused=*/false);
    all.push_back(kept[0]);
    all.push_back(first[0]);
    return all;
  };
  expect_same(run(Mode::checkpointed), run(Mode::plain));
}

TEST(Checkpoint, FreedGraphsSaySo) {
  const auto module = std::make_shared<MlpBlock>(6);
  const at::Tensor y = checkpoint(module, at::randn({4, 6})).sum();
  y.backward();
  EXPECT_THROW(y.backward(), c10::Error);
}

TEST(Checkpoint, Nested) {
  at::manual_seed(4);
  const at::Tensor x = at::randn({2, 4, 6, 6});
  const auto run = [&](bool outer, bool inner) {
    at::manual_seed(5);
    std::vector<std::shared_ptr<ConvBlock>> blocks;
    Tensors buffers;
    for (int i = 0; i < 4; ++i) {
      blocks.push_back(std::make_shared<ConvBlock>());
      for (const auto& buffer : blocks.back()->buffers()) buffers.push_back(buffer);
    }
    const std::function<at::Tensor(const at::Tensor&)> stack = [&](const at::Tensor& input) {
      at::Tensor y = input;
      for (const auto& block : blocks) y = inner ? checkpoint(block, y) : block->forward(y);
      return y.sin();
    };
    const at::Tensor leaf = x.clone().requires_grad_();
    CheckpointOptions options;
    options.buffers = buffers;
    (outer ? checkpoint(stack, leaf, options) : stack(leaf)).sum().backward();
    Tensors result = {leaf.grad(), at::rand({2})};
    for (const auto& block : blocks) {
      for (const auto& parameter : block->parameters()) result.push_back(parameter.grad());
    }
    result.insert(result.end(), buffers.begin(), buffers.end());
    return result;
  };
  const Tensors plain = run(false, false);
  expect_same(run(true, false), plain);
  expect_same(run(false, true), plain);
  expect_same(run(true, true), plain);
}

TEST(Checkpoint, TheSameModuleTwice) {
  at::manual_seed(6);
  const at::Tensor x = at::randn({2, 4, 6, 6});
  const auto run = [&](Mode mode) {
    at::manual_seed(7);
    const auto module = std::make_shared<ConvBlock>();
    const at::Tensor leaf = x.clone().requires_grad_();
    call(mode, module, call(mode, module, leaf)).pow(2).sum().backward();
    return Tensors{leaf.grad(), module->conv1->weight.grad(), module->norm->running_var,
                   module->norm->num_batches_tracked};
  };
  expect_same(run(Mode::checkpointed), run(Mode::plain));
}

TEST(Checkpoint, SeveralTensorsAndCapturedOnes) {
  at::manual_seed(8);
  const at::Tensor a = at::randn({3, 4}), b = at::randn({3, 4}), w = at::randn({4});
  const at::Tensor rows = at::tensor({2, 0}, at::kLong);
  const auto run = [&](Mode mode) {
    Tensors leaves = {a.clone().requires_grad_(), b.clone().requires_grad_(), w.clone().requires_grad_()};
    const at::Tensor captured = leaves[2].exp();  // no leaf, no input
    const TensorsFunction function = [&](const Tensors& in) {
      EXPECT_FALSE(in[2].defined());
      const at::Tensor product = in[0] * in[1].sin() * captured;
      return Tensors{product.index_select(0, in[3]).cos(), product.exp(), in[3]};
    };
    const Tensors inputs = {leaves[0], leaves[1], at::Tensor(), rows};
    const Tensors out = mode == Mode::plain ? function(inputs) : checkpoint(function, inputs);
    EXPECT_TRUE(at::equal(out[2], rows));
    return torch::autograd::grad({out[0].sum() + out[1].sum()}, leaves);
  };
  expect_same(run(Mode::checkpointed), run(Mode::plain));
}

TEST(Checkpoint, AParameterThatIsAnInputToo) {
  at::manual_seed(13);
  const at::Tensor w = at::randn({4, 4}).requires_grad_();
  const std::function<at::Tensor(const at::Tensor&)> function = [&](const at::Tensor& in) {
    return at::matmul(in.t(), w).sin() * w * in;
  };
  // As the leaf itself, as a view of it, and made from it.
  for (const at::Tensor& input : {w, w.t(), w * 2}) {
    const auto gradient = [&](const at::Tensor& y) {
      return torch::autograd::grad({y.sum()}, {w}, {}, /*retain_graph=*/true);
    };
    expect_same(gradient(checkpoint(function, input)), gradient(function(input)));
  }
}

TEST(Checkpoint, ListenersHearOnlyTheFirstRun) {
  const Linear linear(3, 3);
  int heard = 0;
  const TapScope scope([&](const tnn::Module&, const at::Tensor&, const at::Tensor&) { ++heard; });
  checkpoint(linear.ptr(), at::randn({2, 3}).requires_grad_()).sin().exp().sum().backward();
  const std::function<at::Tensor(const at::Tensor&)> inner = [&](const at::Tensor& x) {
    return linear.ptr()->forward(x.sin()).exp();
  };
  checkpoint(inner, at::randn({2, 3}).requires_grad_()).sum().backward();
  EXPECT_EQ(heard, 2);
}

TEST(Checkpoint, WithoutGradientsItIsAPlainCall) {
  const auto module = std::make_shared<ConvBlock>();
  const at::NoGradGuard guard;
  EXPECT_FALSE(checkpoint(module, at::randn({1, 4, 3, 3})).requires_grad());
  EXPECT_EQ(module->calls, 1);
}

TEST(Checkpoint, SaysWhenItRunsAgainAndStopsEarly) {
  const at::Tensor x = at::randn({3}).requires_grad_();
  std::vector<bool> started, ended;
  const std::function<at::Tensor(const at::Tensor&)> function = [&](const at::Tensor& input) {
    started.push_back(recomputing());
    const at::Tensor y = input.sin().cos() + 1;
    ended.push_back(recomputing());
    return y;
  };
  const at::Tensor y = checkpoint(function, x);
  EXPECT_EQ(started, std::vector<bool>{false});
  y.sum().backward();
  // The last tensor needed is the cosine's input: neither the cosine nor what follows runs again.
  EXPECT_EQ(started, (std::vector<bool>{false, true}));
  EXPECT_EQ(ended, std::vector<bool>{false});
  EXPECT_FALSE(recomputing());
}

TEST(Checkpoint, RunsAgainUnderTheSameAutocast) {
  at::manual_seed(9);
  const at::Tensor x = at::randn({4, 8});
  const auto run = [&](Mode mode) {
    at::manual_seed(10);
    const auto module = std::make_shared<MlpBlock>(8);
    const at::Tensor leaf = x.clone().requires_grad_();
    at::autocast::set_autocast_enabled(at::kCPU, true);
    at::autocast::increment_nesting();
    const at::Tensor y = call(mode, module, leaf);
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(at::kCPU, false);
    y.to(at::kFloat).pow(2).sum().backward();
    EXPECT_FALSE(at::autocast::is_autocast_enabled(at::kCPU));
    EXPECT_TRUE(at::autocast::is_autocast_cache_enabled());
    return Tensors{y, leaf.grad(), module->fc1->weight.grad(), module->norm->weight.grad()};
  };
  expect_same(run(Mode::checkpointed), run(Mode::plain));
}

// Autocast keeps casts of weights until it ends; one of the second run would outlive the weight's next
// change.
TEST(Checkpoint, LeavesNoCastBehind) {
  const at::Tensor w = at::randn({3, 3}).requires_grad_(), x = at::randn({2, 3});
  const std::function<at::Tensor(const at::Tensor&)> function = [&](const at::Tensor& in) {
    return at::linear(in, w).sin().exp();
  };
  at::autocast::set_autocast_enabled(at::kCPU, true);
  const at::Tensor y = checkpoint(function, x);
  at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(at::kCPU, false);
  y.sum().backward();
  {
    const at::NoGradGuard guard;
    w.zero_();
  }
  at::autocast::set_autocast_enabled(at::kCPU, true);
  const at::Tensor after = at::linear(x, w);
  at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(at::kCPU, false);
  EXPECT_EQ(after.abs().sum().item<double>(), 0.0);
}

TEST(Checkpoint, FunctionsThatDoNotRepeatAreRefused) {
  const at::Tensor x = at::randn({4, 3}).requires_grad_();
  int64_t calls = 0;
  const auto message = [&](const std::function<at::Tensor(const at::Tensor&)>& function) {
    calls = 0;
    const at::Tensor y = checkpoint(function, x).sum();
    return usage_error_of([&] { y.backward(); });
  };
  EXPECT_NE(message([&](const at::Tensor& in) { return in.narrow(0, 0, 4 - calls++).sin(); }).find("[3, 3]"),
            std::string::npos);
  EXPECT_NE(message([&](const at::Tensor& in) { return calls++ ? in + 1 : in.sin(); }).find("fewer"),
            std::string::npos);
  EXPECT_NE(message([&](const at::Tensor& in) {
              const at::Tensor hidden = in + 1, y = hidden.sin().exp();
              if (calls++) hidden.add_(1);
              return y.cos();
            }).find("in place"),
            std::string::npos);
}

TEST(Checkpoint, ChangedParametersAreRefused) {
  const auto module = std::make_shared<tnn::LinearImpl>(3, 3);
  const at::Tensor y = checkpoint(module, at::randn({2, 3}).requires_grad_()).sum();
  {
    const at::NoGradGuard guard;
    module->weight.add_(1);
  }
  EXPECT_NE(usage_error_of([&] { y.backward(); }).find("Step the optimiser after backward()"),
            std::string::npos);
}

// Twelve blocks: the bytes that the graph keeps, and what the second run costs.
TEST(Checkpoint, SavesMemoryForTime) {
  at::manual_seed(12);
  const int64_t dim = 96, tokens = 512, depth = 12;
  std::vector<std::shared_ptr<MlpBlock>> blocks;
  for (int64_t i = 0; i < depth; ++i) blocks.push_back(std::make_shared<MlpBlock>(dim));
  const at::Tensor x = at::randn({tokens, dim});
  const auto stats = std::make_shared<CheckpointStats>();
  CheckpointOptions options;
  options.stats = stats;
  const auto run = [&](Mode mode) {
    const double start = thread_seconds();
    at::Tensor y = x;
    int64_t bytes = 0;
    {
      const SavedBytes saved;
      for (const auto& block : blocks)
        y = mode == Mode::plain ? block->forward(y) : checkpoint(block, y, options);
      bytes = saved.bytes();
    }
    y.sum().backward();
    return std::pair(bytes, thread_seconds() - start);
  };
  const auto [plain_bytes, first_plain_seconds] = run(Mode::plain);
  const auto [bytes, first_seconds] = run(Mode::checkpointed);
  const int64_t row = tokens * static_cast<int64_t>(sizeof(float));
  // Plain: x, its norm (with mean and deviation), fc1 and gelu a block. Checkpointed: x a block.
  EXPECT_EQ(plain_bytes, depth * row * (dim + dim + 2 + 8 * dim));
  EXPECT_EQ(bytes, depth * row * dim);
  EXPECT_EQ(stats->freed_bytes, plain_bytes - bytes);
  EXPECT_EQ(stats->calls, depth);
  EXPECT_EQ(stats->recomputations, depth);
  EXPECT_GT(stats->recompute_nanoseconds, 0);
  double plain_seconds = first_plain_seconds, seconds = first_seconds;
  for (int i = 0; i < 4; ++i) {
    plain_seconds = std::min(plain_seconds, run(Mode::plain).second);
    seconds = std::min(seconds, run(Mode::checkpointed).second);
  }
  printf("kept %.2f MB plain, %.2f MB checkpointed; %.1f ms plain, %.1f ms checkpointed\n", plain_bytes / 1e6,
         bytes / 1e6, 1e3 * plain_seconds, 1e3 * seconds);
}

TEST(SavedBytes, CountsEachStorageOnceAndNoParameters) {
  const at::Tensor w = at::randn({100}).requires_grad_(), x = at::randn({100});
  const SavedBytes saved;
  const at::Tensor y = (w * x).sin() + (w * x.view({10, 10}).flatten()).cos();
  EXPECT_EQ(saved.bytes(), 3 * 100 * static_cast<int64_t>(sizeof(float)));
  y.sum().backward();
  EXPECT_EQ(saved.bytes(), 100 * static_cast<int64_t>(sizeof(float)));  // x lives on
}

}  // namespace
}  // namespace fovea::nn
