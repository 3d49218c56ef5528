#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "fovea/io/tensors.h"
#include "fovea/nn/attention/registry.h"

// Sparse mechanisms beside transformers' of the same name, with its projections.

namespace fovea::nn {
namespace {

constexpr int64_t kPeerHeads = 2, kPeerWidth = 8;

// One of scripts/parity_tests/sparse_golden.py.
class SparsePeer {
 public:
  SparsePeer(std::string name, const std::string& mechanism)
      : name_(std::move(name)),
        attention_(parse_attention(mechanism).build({kPeerHeads, kPeerHeads, 4, 4, kPeerWidth})) {
    attention_->to(at::kDouble);
    const torch::NoGradGuard no_grad;
    for (const auto& item : attention_->named_parameters())
      item.value().copy_(number("weight." + item.key()));
    for (const char* key :
         {"query.weight", "query.bias", "key.weight", "key.bias", "value.weight", "value.bias"}) {
      projections_[key] = number(std::string("weight.") + key).clone().requires_grad_();
    }
  }

  static const at::Tensor& number(const std::string& name, const std::string& key) {
    static const io::TensorMap all = io::load_tensors(FOVEA_TEST_DATA "/nn/sparse.safetensors");
    return all.at(name + "." + key);
  }
  const at::Tensor& number(const std::string& key) const { return number(name_, key); }

  void expect_equal(AttentionCall call, double within) {
    AttentionInput input;
    input.x = number("x").clone().requires_grad_();
    input.q = projected("query", input.x), input.k = projected("key", input.x);
    input.v = projected("value", input.x);
    input.call = std::move(call);
    input.call.key_lengths = number("lengths");
    const at::Tensor out = attention_->forward(input).out.transpose(1, 2).flatten(2);
    (out * number("seen")).sum().backward();
    const at::Tensor rows = number("seen") != 0;
    near(out * rows, number("out") * rows, within, "out");
    near(input.x.grad(), number("grad.x"), within, "x");
    for (const auto& [key, tensor] : projections_) near(tensor.grad(), number("grad." + key), within, key);
    for (const auto& item : attention_->named_parameters()) {
      near(item.value().grad(), number("grad." + item.key()), within, item.key());
    }
  }

 private:
  at::Tensor projected(const std::string& name, const at::Tensor& x) const {
    return at::linear(x, projections_.at(name + ".weight"), projections_.at(name + ".bias"))
        .unflatten(2, {kPeerHeads, 4})
        .transpose(1, 2);
  }
  // max |a - b| / max |b|, as a part of 1 where b is all but 0.
  static void near(const at::Tensor& a, const at::Tensor& b, double within, const std::string& what) {
    const double size = std::max(b.abs().max().item<double>(), 1.0);
    EXPECT_LT((a - b).abs().max().item<double>() / size, within) << what;
  }

  std::string name_;
  std::shared_ptr<Attention> attention_;
  std::map<std::string, at::Tensor> projections_;
};

TEST(SparsePeers, LongformerOfTransformers) {
  SparsePeer("longformer", "longformer:window=4,global=2,global_projections=true").expect_equal({}, 1e-12);
}

// With the blocks that it chose.
TEST(SparsePeers, BigBirdOfTransformers) {
  AttentionCall call;
  call.blocks = AttendBlocks{SparsePeer::number("bigbird", "block_mask"), 4};
  SparsePeer("bigbird", "softmax").expect_equal(call, 1e-12);
}

// What is beside the blocks at random is our pattern.
TEST(SparsePeers, BigBirdSeesTheSameBlocks) {
  const at::Tensor theirs = SparsePeer::number("bigbird", "block_mask");
  AttentionInput input;
  input.q = input.k = input.v = at::zeros({1, 2, 8, 4});
  input.call.weights = true;
  const auto seen = [&](const char* text) {
    return parse_attention(text).build({2, 2, 4, 4})->forward(input).weights > 0;
  };
  const at::Tensor sure = seen("bigbird:block_size=1,random=0"), one = seen("bigbird:block_size=1,random=1");
  EXPECT_TRUE((theirs | sure).equal(theirs));
  EXPECT_TRUE(theirs.sum(-1).equal(one.sum(-1)));
}

}  // namespace
}  // namespace fovea::nn
