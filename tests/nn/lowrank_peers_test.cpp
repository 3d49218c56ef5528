#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "fovea/io/tensors.h"
#include "fovea/nn/attention/lsh.h"
#include "fovea/nn/attention/registry.h"

// Low-rank and hashed mechanisms beside the field's, between the same projections.

namespace fovea::nn {
namespace {

// One of scripts/parity_tests/lowrank_golden.py.
class LowRankPeer {
 public:
  LowRankPeer(std::string name, const std::string& mechanism) : name_(std::move(name)) {
    const int64_t heads = number("q").size(1), size = number("q").size(3);
    attention_ = parse_attention(mechanism).build({heads, heads, size, size});
    attention_->to(at::kDouble);
    const torch::NoGradGuard no_grad;
    for (const auto& item : attention_->named_parameters()) {
      item.value().copy_(number("weight." + item.key()));
    }
    if (auto* lsh = dynamic_cast<LshAttention*>(attention_.get())) lsh->rotations = number("rotations");
  }

  void expect_equal(CausalAlignment causal, double within) const {
    AttentionInput input;
    std::vector<at::Tensor> leaves;
    std::vector<std::string> names = {"q", "k", "v"};
    for (const auto& name : names) leaves.push_back(number(name).clone().requires_grad_());
    input.q = leaves[0], input.k = leaves[1], input.v = leaves[2];
    input.call.causal = causal;
    for (const auto& item : attention_->named_parameters()) {
      leaves.push_back(item.value());
      names.push_back(item.key());
    }
    const at::Tensor out = attention_->forward(input).out;
    const auto gradients = torch::autograd::grad({(out * number("seen")).sum()}, leaves, {}, std::nullopt,
                                                 false, /*allow_unused=*/true);
    near(out, number("out"), within, "out");
    for (size_t i = 0; i < leaves.size(); ++i) {
      near(gradients[i].defined() ? gradients[i] : at::zeros_like(leaves[i]), number("grad." + names[i]),
           within, names[i]);
    }
  }

 private:
  const at::Tensor& number(const std::string& key) const {
    static const io::TensorMap all = io::load_tensors(FOVEA_TEST_DATA "/nn/lowrank.safetensors");
    return all.at(name_ + "." + key);
  }
  // max |a - b| / max |b|, as a part of 1 where b is all but 0.
  static void near(const at::Tensor& a, const at::Tensor& b, double within, const std::string& what) {
    const double size = std::max(b.abs().max().item<double>(), 1.0);
    EXPECT_LT((a - b).abs().max().item<double>() / size, within) << what;
  }

  std::string name_;
  std::shared_ptr<Attention> attention_;
};

constexpr auto kAll = CausalAlignment::none, kBefore = CausalAlignment::top_left;

TEST(LowRankPeers, NystromOfTransformers) {
  LowRankPeer("nystromformer", "nystrom:landmarks=4,conv_kernel_size=5").expect_equal(kAll, 1e-12);
}

TEST(LowRankPeers, NystromOfItsPackage) {
  LowRankPeer("nystrom_attention", "nystrom:landmarks=8,iterations=4,conv_kernel_size=3")
      .expect_equal(kAll, 1e-12);
}

TEST(LowRankPeers, LinformerOfItsPackage) {
  LowRankPeer("linformer", "linformer:length=40,rank=6").expect_equal(kAll, 1e-12);
}

// It sees keys of other buckets too.
TEST(LowRankPeers, ReformerOfTransformers) {
  const char* text = "lsh:buckets=4,rounds=1,chunk=8,attend_across_buckets=true";
  LowRankPeer("reformer", text).expect_equal(kAll, 1e-12);
  LowRankPeer("reformer_causal", text).expect_equal(kBefore, 1e-12);
}

// It scales by 1 / sqrt(D) too.
TEST(LowRankPeers, ReformerPytorch) {
  const char* text = "lsh:buckets=4,rounds=3,chunk=8,scale=0.5";
  LowRankPeer("reformer_pytorch", text).expect_equal(kAll, 1e-12);
  LowRankPeer("reformer_pytorch_causal", text).expect_equal(kBefore, 1e-12);
}

}  // namespace
}  // namespace fovea::nn
