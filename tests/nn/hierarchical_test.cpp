#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <string>
#include <vector>

#include "fovea/nn/attention/hierarchical_attention.h"
#include "fovea/nn/attention/registry.h"
#include "tests/nn/gap.h"
#include "tests/nn/range_inputs.h"
#include "tests/support/errors.h"

// Words, sentences and documents of their own lengths, against formulas that read one sequence at a time.

namespace fovea::nn {
namespace {

// One direction over x (T, E), from the last row if `backwards`.
at::Tensor read_by_gru(const at::Tensor& x, torch::nn::Module& gru, const std::string& suffix,
                       bool backwards) {
  const auto p = gru.named_parameters();
  const auto gates = [&](const at::Tensor& in, const std::string& of) {
    return (at::matmul(p["weight_" + of + suffix], in) + p["bias_" + of + suffix]).chunk(3);
  };
  const int64_t steps = x.size(0);
  std::vector<at::Tensor> h(steps);
  at::Tensor state = at::zeros({p["weight_hh" + suffix].size(1)}, x.options().requires_grad(false));
  for (int64_t s = 0; s < steps; ++s) {
    const int64_t t = backwards ? steps - 1 - s : s;
    const auto from_x = gates(x[t], "ih"), from_h = gates(state, "hh");
    const at::Tensor r = (from_x[0] + from_h[0]).sigmoid(), z = (from_x[1] + from_h[1]).sigmoid();
    state = (1 - z) * (from_x[2] + r * from_h[2]).tanh() + z * state;
    h[t] = state;
  }
  return at::stack(h);
}

// The vector of one sequence, and its weights.
PooledSequences pooled(const at::Tensor& x, AttentivePoolingImpl& level) {
  const at::Tensor h =
      at::cat({read_by_gru(x, *level.gru, "_l0", false), read_by_gru(x, *level.gru, "_l0_reverse", true)}, 1);
  const auto p = level.attention->named_parameters();
  const at::Tensor u = (at::matmul(h, p["weight"].t()) + p["bias"]).tanh();
  const at::Tensor e = at::matmul(u, level.context).exp(), a = e / e.sum();
  return {(a.unsqueeze(1) * h).sum(0), a};
}

const std::vector<std::vector<int64_t>> kDocuments = {{3, 1, 5}, {2}, {4, 4}};

DocumentVectors by_formula(const at::Tensor& words, HierarchicalAttentionImpl& network) {
  std::vector<at::Tensor> out, of_words, of_sentences;
  int64_t place = 0;
  for (const auto& lengths : kDocuments) {
    std::vector<at::Tensor> sentences;
    for (const int64_t length : lengths) {
      const PooledSequences sentence = pooled(words.narrow(0, place, length), *network.word);
      sentences.push_back(sentence.out), of_words.push_back(sentence.weights);
      place += length;
    }
    const PooledSequences document = pooled(at::stack(sentences), *network.sentence);
    out.push_back(document.out), of_sentences.push_back(document.weights);
  }
  return {at::stack(out), at::cat(of_words), at::cat(of_sentences)};
}

HierarchicalAttention network_of(int64_t size) {
  HierarchicalAttention network(
      HierarchicalAttentionOptions{.size = size, .word_hidden = 4, .sentence_hidden = 3});
  network->to(at::kDouble);
  return network;
}

at::Tensor ends_of_sentences() { return at::tensor({0, 3, 4, 9, 11, 15, 19}); }
at::Tensor ends_of_documents() { return at::tensor({0, 3, 4, 6}); }

TEST(HierarchicalAttention, IsItsFormulaForEachDocument) {
  at::manual_seed(1);
  HierarchicalAttention network = network_of(5);
  const at::Tensor words = at::randn({19, 5}, at::kDouble).requires_grad_();
  const DocumentVectors found = network->forward(words, ends_of_sentences(), ends_of_documents()),
                        exact = by_formula(words, *network);
  EXPECT_LT(gap(found.out, exact.out), 1e-13);
  EXPECT_LT(gap(found.words, exact.words), 1e-13);
  EXPECT_LT(gap(found.sentences, exact.sentences), 1e-13);
  std::vector<at::Tensor> leaves = network->parameters();
  leaves.push_back(words);
  const auto value = [](const DocumentVectors& d) {
    const at::Tensor seen = at::arange(d.out.numel(), at::kDouble).add(1).cos().view_as(d.out);
    return (d.out * seen).sum() + d.words.square().sum() + d.sentences.square().sum();
  };
  const auto got = torch::autograd::grad({value(found)}, leaves),
             expected = torch::autograd::grad({value(exact)}, leaves);
  for (size_t i = 0; i < leaves.size(); ++i) EXPECT_LT(gap(got[i], expected[i]), 1e-12) << i;
}

TEST(HierarchicalAttention, OfOneSentenceIsPlainPooling) {
  at::manual_seed(2);
  HierarchicalAttention network = network_of(5);
  const at::Tensor words = at::randn({6, 5}, at::kDouble);
  const DocumentVectors found = network->forward(words, at::tensor({0, 6}), at::tensor({0, 1}));
  EXPECT_EQ(found.sentences[0].item<double>(), 1.0);
  EXPECT_LT(gap(found.words, pooled(words, *network->word).weights), 1e-14);
  EXPECT_NEAR(found.words.sum().item<double>(), 1.0, 1e-14);
}

TEST(HierarchicalAttention, RefusesOffsetsThatDoNotRise) {
  HierarchicalAttention network = network_of(5);
  const at::Tensor words = at::randn({19, 5}, at::kDouble);
  const auto refuses = [&](const std::string& part, const at::Tensor& sentences,
                           const at::Tensor& documents) {
    expect_error(ErrorKind::usage, {"[hierarchical_attention]", part},
                 [&] { network->forward(words, sentences, documents); });
  };
  refuses("sentences must be integers that rise from 0 to 19", at::tensor({0, 18}), ends_of_documents());
  refuses("sentences", at::tensor({1, 19}), ends_of_documents());
  refuses("sentences", at::tensor({0, 5, 5, 19}), ends_of_documents());
  refuses("sentences", at::tensor({0.0, 19.0}), ends_of_documents());
  refuses("documents must be integers that rise from 0 to 6", ends_of_sentences(), at::tensor({0, 7}));
  refuses("documents", ends_of_sentences(), at::Tensor());
  expect_error(ErrorKind::usage, {"words must be (W, 5)"},
               [&] { network->forward(words.narrow(1, 0, 4), ends_of_sentences(), ends_of_documents()); });
  expect_error(ErrorKind::usage, {"sizes must be at least 1"},
               [] { HierarchicalAttention(HierarchicalAttentionOptions{.size = 0}); });
}

// Segments of one key, of all keys, and of some, whose last is short.
TEST(HierarchicalKeys, IsSoftmaxAtBothEnds) {
  at::manual_seed(3);
  AttentionInput input = range::rows_of(2, 4, 23, 8, at::kDouble);
  input.x = at::Tensor();
  input.call.key_lengths = at::tensor({23, 7});
  const auto run = [&](const std::string& text) {
    return parse_attention(text).build({4, 4, 8, 8})->forward(input).out;
  };
  const at::Tensor plain = run("softmax");
  EXPECT_LT(gap(run("hierarchical:segment=1"), plain), 1e-13);
  EXPECT_LT(gap(run("hierarchical:segment=23"), plain), 1e-13);
  EXPECT_LT(gap(run("hierarchical:segment=1073741823"), plain), 1e-13);
  EXPECT_GT(gap(run("hierarchical:segment=5"), plain), 1e-3);
  for (const std::string segment : {"1", "23"}) {
    EXPECT_LT(gap(run("hierarchical:scale=0.9,segment=" + segment), run("softmax:scale=0.9")), 1e-13);
  }
}

}  // namespace
}  // namespace fovea::nn
