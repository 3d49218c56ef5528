// Activation checkpointing beside the numbers: what runs again and when, what is refused, what is saved.
#include <ATen/autocast_mode.h>
#include <time.h>

#include <algorithm>
#include <cstdio>

#include "fovea/core/error.h"
#include "fovea/nn/layers.h"
#include "fovea/nn/recompute.h"
#include "fovea/nn/saved_tensors.h"
#include "tests/nn/activation_checkpoint_modules.h"
#include "tests/support/errors.h"

namespace fovea::nn {
namespace {

double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
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

TEST(Checkpoint, FreedGraphsSaySo) {
  const auto module = std::make_shared<MlpBlock>(6);
  const at::Tensor y = checkpoint(module, at::randn({4, 6})).sum();
  y.backward();
  EXPECT_THROW(y.backward(), c10::Error);
}

TEST(Checkpoint, FunctionsThatDoNotRepeatAreRefused) {
  const at::Tensor x = at::randn({4, 3}).requires_grad_();
  int64_t calls = 0;
  const auto message = [&](const std::function<at::Tensor(const at::Tensor&)>& function) {
    calls = 0;
    const at::Tensor y = checkpoint(function, x).sum();
    return message_of(ErrorKind::usage, [&] { y.backward(); });
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
  EXPECT_NE(message_of(ErrorKind::usage, [&] { y.backward(); }).find("Step the optimiser after backward()"),
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
