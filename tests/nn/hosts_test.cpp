#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <map>
#include <string>
#include <vector>

#include "fovea/io/tensors.h"
#include "fovea/nn/attention/multi_head_attention.h"
#include "fovea/nn/block/transformer.h"
#include "fovea/nn/meta_device.h"
#include "fovea/nn/tap.h"
#include "tests/nn/gap.h"
#include "tests/support/errors.h"

// Networks that hold an attention: equal to torch's with the same weights, and true to what they are told.

namespace fovea::nn {
namespace {

constexpr double kRounding = 1e-12;

// One case of scripts/parity_tests/hosts_golden.py.
class Golden {
 public:
  explicit Golden(std::string name) : name_(std::move(name)) {}

  at::Tensor operator[](const std::string& key) const { return tensors().at(name_ + "." + key); }

  at::Tensor input(const std::string& key) {
    at::Tensor t = (*this)["in." + key].clone().requires_grad_();
    inputs_[key] = t;
    return t;
  }

  // The very names of torch's parameters, and their numbers.
  void give_weights(torch::nn::Module& module) const {
    module.to(at::kDouble);
    const torch::NoGradGuard no_grad;
    const std::string prefix = name_ + ".weight.";
    size_t count = 0;
    for (const auto& [key, tensor] : tensors()) count += key.starts_with(prefix) ? 1 : 0;
    EXPECT_EQ(module.named_parameters().size(), count) << name_;
    for (const auto& item : module.named_parameters()) item.value().copy_((*this)["weight." + item.key()]);
  }

  void expect_equal(torch::nn::Module& module, const at::Tensor& out) {
    EXPECT_LT(gap(out, (*this)["out"]), kRounding) << name_;
    (out * (*this)["seen"]).sum().backward();
    for (const auto& [key, tensor] : inputs_) {
      EXPECT_LT(gap(tensor.grad(), (*this)["grad.in." + key]), kRounding) << name_ << ' ' << key;
    }
    for (const auto& item : module.named_parameters()) {
      EXPECT_LT(gap(item.value().grad(), (*this)["grad.weight." + item.key()]), kRounding)
          << name_ << ' ' << item.key();
    }
  }

 private:
  static const io::TensorMap& tensors() {
    static const io::TensorMap all = io::load_tensors(FOVEA_TEST_DATA "/nn/hosts.safetensors");
    return all;
  }

  std::string name_;
  std::map<std::string, at::Tensor> inputs_;
};

MultiHeadAttentionOptions of_width(int64_t width, int64_t heads) {
  MultiHeadAttentionOptions options;
  options.embed_dim = width, options.num_heads = heads;
  return options;
}

// torch's masks say what is hidden.
AttentionCall padded(const at::Tensor& hidden) {
  AttentionCall call;
  call.key_lengths = hidden.logical_not().sum(1);
  return call;
}

TEST(MultiHeadAttention, EqualsTorch) {
  Golden own("mha.self");
  MultiHeadAttention layer(of_width(8, 2));
  own.give_weights(*layer);
  const at::Tensor x = own.input("x");
  own.expect_equal(*layer, layer->forward(x, x, x, padded(own["mask.key_padding_mask"])).out);

  Golden cross("mha.cross");
  MultiHeadAttentionOptions options = of_width(8, 2);
  options.bias = false;
  MultiHeadAttention plain(options);
  cross.give_weights(*plain);
  AttentionCall call;
  call.mask = cross["mask.attn_mask"].logical_not();
  cross.expect_equal(
      *plain, plain->forward(cross.input("query"), cross.input("key"), cross.input("value"), call).out);

  Golden widths("mha.widths");
  options = of_width(8, 2);
  options.kdim = 6, options.vdim = 10;
  MultiHeadAttention wide(options);
  widths.give_weights(*wide);
  call = padded(widths["mask.key_padding_mask"]);
  call.mask = widths["mask.attn_mask"].logical_not();
  widths.expect_equal(
      *wide, wide->forward(widths.input("query"), widths.input("key"), widths.input("value"), call).out);
}

// A head of keys that several heads of queries share is the same as its copies.
TEST(MultiHeadAttention, SharedHeadsEqualTheirCopies) {
  at::manual_seed(1);
  const torch::NoGradGuard no_grad;
  for (const int64_t kv_heads : {1, 2}) {
    MultiHeadAttentionOptions options = of_width(16, 4);
    MultiHeadAttention full(options);
    options.num_kv_heads = kv_heads;
    MultiHeadAttention shared(options);
    full->to(at::kDouble), shared->to(at::kDouble);
    at::Tensor bias = at::randn({16 + 2 * kv_heads * 4}, at::kDouble);
    shared->in_proj_bias.copy_(bias);
    const auto copies = [&](const at::Tensor& t) {
      return t.unflatten(0, {kv_heads, 4}).repeat_interleave(4 / kv_heads, 0).flatten(0, 1);
    };
    const auto parts = bias.split_with_sizes({16, kv_heads * 4, kv_heads * 4});
    full->in_proj_weight.copy_(
        at::cat({shared->q_proj_weight, copies(shared->k_proj_weight), copies(shared->v_proj_weight)}));
    full->in_proj_bias.copy_(at::cat({parts[0], copies(parts[1]), copies(parts[2])}));
    full->out_proj->weight.copy_(shared->out_proj->weight);
    const at::Tensor x = at::randn({2, 7, 16}, at::kDouble);
    EXPECT_LT(gap(shared->forward(x, x, x).out, full->forward(x, x, x).out), kRounding) << kv_heads;
  }
}

TEST(MultiHeadAttention, HiddenRowsGiveWhatZeroProjectsTo) {
  MultiHeadAttention layer(of_width(8, 2));
  torch::NoGradGuard no_grad;
  layer->out_proj->bias.normal_();
  const at::Tensor x = at::randn({2, 5, 8});
  AttentionCall call;
  call.key_lengths = at::tensor({5, 0});
  const at::Tensor out = layer->forward(x, x, x, call).out;
  EXPECT_LT(gap(out[1], layer->out_proj->bias.expand({5, 8})), 1e-7);
  EXPECT_TRUE(at::isfinite(out).all().item<bool>());
}

TEST(MultiHeadAttention, GivesWhatIsAsked) {
  MultiHeadAttention layer(of_width(8, 2));
  const at::Tensor x = at::randn({2, 5, 8}), memory = at::randn({2, 3, 8});
  AttentionCall call;
  call.weights = call.observe.entropy = true;
  const auto result = layer->forward(x, memory, memory, call);
  EXPECT_EQ(result.weights.sizes(), (std::vector<int64_t>{2, 2, 5, 3}));
  EXPECT_EQ(result.observed.entropy.sizes(), (std::vector<int64_t>{2, 2, 5}));
  // In-projections 5 + 3 + 3 rows, products of 5 queries and 3 keys, for a batch of 2.
  EXPECT_EQ(layer->multiply_adds(x, result.out), 2 * (11 * 64 + 2 * (2 * 5 * 3 * 4)));
  int shown = 0;
  const AttentionTapScope scope([&](const auto& module, const at::Tensor& w) {
    EXPECT_EQ(&module, layer.get());
    EXPECT_EQ(w.size(3), 3);
    ++shown;
  });
  layer->forward(x, memory, memory);
  EXPECT_EQ(shown, 1);
}

TEST(MultiHeadAttention, RefusesWhatDoesNotFit) {
  const auto refuses = [](const std::string& part, auto&& change) {
    MultiHeadAttentionOptions options = of_width(8, 2);
    change(options);
    expect_error(ErrorKind::usage, {part}, [&] { MultiHeadAttention layer(options); });
  };
  refuses("num_heads must divide embed_dim", [](auto& o) { o.num_heads = 3; });
  refuses("num_kv_heads 3", [](auto& o) { o.num_kv_heads = 3; });
  refuses("vdim -1", [](auto& o) { o.vdim = -1; });
  refuses("needs as many heads of keys", [](auto& o) { o.num_kv_heads = 1, o.attention = "additive"; });
  refuses("Did you mean 'local'", [](auto& o) { o.attention = "locl"; });
  refuses("block needs a mask of blocks", [](auto& o) { o.attention = "softmax:block=2"; });
  MultiHeadAttention layer(of_width(8, 2));
  const at::Tensor x = at::randn({2, 5, 8});
  expect_error(ErrorKind::usage, {"widths 8, 8 and 8", "(2, 5, 4)"},
               [&] { layer->forward(x, x.narrow(2, 0, 4), x); });
}

TransformerOptions small_transformer() {
  TransformerOptions options;
  options.d_model = 8, options.nhead = 2, options.dim_feedforward = 12, options.dropout = 0.0;
  return options;
}

TEST(Transformer, EqualsTorch) {
  for (const char* name : {"post", "pre", "plain"}) {
    Golden golden(std::string("transformer.") + name);
    TransformerOptions options = small_transformer();
    options.norm_first = std::string(name) != "post";
    options.activation = std::string(name) == "pre" ? "gelu" : "relu";
    options.bias = std::string(name) != "plain";
    Transformer transformer(options, 1, 1);
    golden.give_weights(*transformer);
    TransformerCalls calls;
    calls.encoder.key_lengths = calls.cross.key_lengths = at::tensor({6, 4});
    golden.expect_equal(*transformer,
                        transformer->forward(golden.input("source"), golden.input("target"), calls));
  }
}

TEST(Transformer, StacksEqualTorch) {
  Golden encoded("encoder"), decoded("decoder");
  TransformerEncoder encoder(small_transformer(), 2);
  encoded.give_weights(*encoder);
  encoded.expect_equal(*encoder, encoder->forward(encoded.input("x")));
  TransformerDecoder decoder(small_transformer(), 2);
  decoded.give_weights(*decoder);
  decoded.expect_equal(*decoder, decoder->forward(decoded.input("x"), decoded.input("memory")));
}

TEST(Transformer, TakesAnyMechanism) {
  at::manual_seed(3);
  TransformerOptions options = small_transformer();
  options.attention = "local:window=1", options.cross_attention = "additive";
  TransformerDecoder decoder(options, 1);
  EXPECT_TRUE(decoder->named_parameters().contains("layers.0.multihead_attn.attention.w"));
  const at::Tensor x = at::randn({1, 6, 8}), memory = at::randn({1, 4, 8});
  at::Tensor changed = x.clone();
  changed.select(1, 5).normal_();
  const at::Tensor moved =
      (decoder->forward(x, memory) - decoder->forward(changed, memory)).abs().sum(at::IntArrayRef{0, 2}) >
      1e-6;
  EXPECT_TRUE(at::equal(moved, at::tensor({0, 0, 0, 0, 1, 1}).to(at::kBool)));
}

TEST(Transformer, DropsOnlyInTraining) {
  TransformerOptions options = small_transformer();
  options.dropout = 0.5;
  TransformerEncoder encoder(options, 1);
  const at::Tensor x = at::randn({1, 6, 8});
  EXPECT_GT(gap(encoder->forward(x), encoder->forward(x)), 1e-3);
  encoder->eval();
  EXPECT_EQ(gap(encoder->forward(x), encoder->forward(x)), 0.0);
}

// A call's own dropout counts where the module has none.
TEST(MultiHeadAttention, ACallDropsWhereTheModuleDoesNot) {
  MultiHeadAttention host(of_width(8, 2));
  const at::Tensor x = at::randn({1, 6, 8});
  AttentionCall call;
  call.dropout_p = 0.5;
  for (const bool training : {true, false}) {
    host->train(training);
    EXPECT_GT(gap(host->forward(x, x, x, call).out, host->forward(x, x, x, {}).out), 1e-3);
  }
}

// Mechanisms that form no weights train beside layers that drop.
TEST(Transformer, DropsAttentionApart) {
  TransformerOptions options = small_transformer();
  options.dropout = 0.5, options.attention = "linear";
  const at::Tensor x = at::randn({1, 6, 8});
  expect_error(ErrorKind::usage, {"Set the dropout of attention to 0"},
               [&] { TransformerEncoder(options, 1); });
  options.attention_dropout = 0.0;
  TransformerEncoder encoder(options, 1);
  EXPECT_GT(gap(encoder->forward(x), encoder->forward(x)), 1e-3);
}

TEST(Transformer, CountsOnTheMetaDevice) {
  const MetaDeviceScope meta;
  const Transformer transformer{TransformerOptions{}};
  int64_t parameters = 0;
  for (const auto& p : transformer->parameters()) parameters += p.numel();
  EXPECT_EQ(parameters, 44140544);  // of Python's torch.nn.Transformer()
}

TEST(Transformer, RefusesWhatItIsNot) {
  TransformerOptions options = small_transformer();
  options.activation = "swish";
  expect_error(ErrorKind::usage, {"relu or gelu; found 'swish'"},
               [&] { TransformerEncoder encoder(options); });
}

}  // namespace
}  // namespace fovea::nn
