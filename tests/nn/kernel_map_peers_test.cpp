#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "fovea/io/tensors.h"
#include "fovea/nn/attention/registry.h"

// Linear attention, the Performer and efficient attention beside the field's, see
// scripts/parity_tests/kernel_map_golden.py.

namespace fovea::nn {
namespace {

const at::Tensor& kernel_map_number(const std::string& key) {
  static const io::TensorMap all = io::load_tensors(FOVEA_TEST_DATA "/nn/kernel_map.safetensors");
  return all.at(key);
}

// Output and gradients of `text` are those of `name`.
void expect_peer(const std::string& text, const std::string& name, AttentionCall call = {}) {
  const auto attention = parse_attention(text).build({2, 2, 4, 4});
  attention->to(at::kDouble);
  for (const auto& item : attention->named_buffers()) item.value().copy_(kernel_map_number(item.key()));
  const auto leaf = [](const char* key) { return kernel_map_number(key).clone().requires_grad_(); };
  AttentionInput input;
  input.q = leaf("q"), input.k = leaf("k"), input.v = leaf("v");
  input.call = std::move(call);
  const at::Tensor out = attention->forward(input).out;
  (out * kernel_map_number("seen")).sum().backward();
  const auto near = [&](const at::Tensor& found, const std::string& key) {
    const at::Tensor& expected = kernel_map_number(name + "." + key);
    const double size = std::max(expected.abs().max().item<double>(), 1.0);
    EXPECT_LT((found - expected).abs().max().item<double>() / size, 1e-12) << name << ' ' << key;
  };
  near(out, "out");
  near(input.q.grad(), "grad.q"), near(input.k.grad(), "grad.k"), near(input.v.grad(), "grad.v");
}

TEST(KernelMapPeers, Linear) {
  expect_peer("linear", "linear");
  expect_peer("linear:causal=true", "linear_causal");
}

TEST(KernelMapPeers, Performer) {
  expect_peer("performer:features=9", "performer");
  expect_peer("performer:features=9,causal=true", "performer_causal");
}

TEST(KernelMapPeers, PerformerOfRelu) {
  expect_peer("performer:features=9,kernel=relu", "performer_relu");
  expect_peer("performer:features=9,kernel=relu,causal=true", "performer_relu_causal");
}

TEST(KernelMapPeers, Efficient) {
  AttentionCall call;
  call.key_lengths = kernel_map_number("lengths");
  expect_peer("efficient", "efficient", call);
  call = {};
  call.mask = (at::arange(37) < kernel_map_number("lengths").unsqueeze(1)).view({2, 1, 1, 37});
  expect_peer("efficient", "efficient", call);
}

}  // namespace
}  // namespace fovea::nn
