// Activation checkpointing: every number equals that of the plain step.
#include "fovea/nn/activation_checkpoint.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/nn/modules/embedding.h>

#include "tests/nn/activation_checkpoint_modules.h"

namespace fovea::nn {
namespace {

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

const std::function<std::shared_ptr<ConvBlock>()> make_conv = [] { return std::make_shared<ConvBlock>(); };

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

}  // namespace
}  // namespace fovea::nn
