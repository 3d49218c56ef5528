#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <limits>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "fovea/io/tensors.h"
#include "fovea/nn/attention/registry.h"
#include "fovea/nn/memory_network.h"
#include "tests/support/errors.h"

// Memories that are read in hops, beside the proofs of the mechanism: what it keeps and shows, and the
// network of sentences against its recurrence by hand.

namespace fovea::nn {
namespace {

double peak(const at::Tensor& t) { return t.abs().max().item<double>(); }

AttentionInput drawn_memory(int64_t queries, int64_t keys, at::ScalarType type = at::kDouble) {
  AttentionInput input;
  input.q = at::randn({2, 2, queries, 4}).to(type);
  input.k = at::randn({2, 2, keys, 4}).to(type), input.v = at::randn({2, 2, keys, 4}).to(type);
  return input;
}

std::shared_ptr<Attention> memory_of(const std::string& options, int64_t value_dim = 4) {
  return parse_attention("memory:" + options).build({2, 2, 4, value_dim});
}

// Of the last hop, at the places of their keys: those of what two hops left to ask.
TEST(Memory, ShowsWhatTheLastHopRead) {
  at::manual_seed(1);
  AttentionInput input = drawn_memory(3, 9);
  input.call.key_lengths = at::tensor({9, 6});
  input.call.weights = true;
  for (const char* size : {"", "size=4,"}) {
    const std::string options = std::string(size) + "tying=layer_wise,hops=";
    const AttentionOutput three = memory_of(options + "3")->forward(input);
    AttentionInput after = input;
    after.q = memory_of(options + "2")->forward(input).out;
    const at::Tensor age = after.call.key_lengths->unsqueeze(1) - 1 - at::arange(9);
    const at::Tensor seen = ((age >= 0) & (age < (*size != 0 ? 4 : 9))).view({2, 1, 1, 9});
    const at::Tensor e = at::matmul(after.q, input.k.transpose(2, 3)).exp() * seen, p = e / e.sum(-1, true);
    EXPECT_LT(peak(three.weights - p), 1e-12) << options;
    EXPECT_LT(peak(three.out - after.q - at::matmul(p, input.v)), 1e-12) << options;
  }
}

TEST(Memory, ObservesTheLastHop) {
  at::manual_seed(2);
  AttentionInput input = drawn_memory(20, 30, at::kFloat);
  input.call.observe.entropy = true;
  for (const char* options : {"hops=1,scale=0.5", "hops=3,scale=0.5"}) {
    const auto attention = memory_of(options);
    input.call.weights = false;
    const at::Tensor entropy = attention->forward(input).observed.entropy;
    input.call.weights = true;
    const at::Tensor w = attention->forward(input).weights;
    EXPECT_LT(peak(entropy + (w * w.clamp_min(1e-30).log()).sum(-1)), 1e-5) << options;
  }
}

// What fell out of the memory is gone, NaN or not, and teaches nothing.
TEST(Memory, KeepsTheNewest) {
  at::manual_seed(3);
  AttentionInput input = drawn_memory(5, 12);
  input.call.key_lengths = at::tensor({12, 7});
  const auto attention = memory_of("size=3,temporal=true");
  attention->to(at::kDouble);
  const at::Tensor out = attention->forward(input).out;
  input.k.slice(2, 0, 4).fill_(std::numeric_limits<double>::quiet_NaN());
  input.v.select(0, 0).slice(1, 0, 9).fill_(std::numeric_limits<double>::quiet_NaN());
  input.k.requires_grad_(), input.v.requires_grad_();
  const at::Tensor again = attention->forward(input).out;
  EXPECT_TRUE(again.equal(out));
  const auto grads = torch::autograd::grad({again.square().sum()}, {input.k, input.v});
  for (const auto& grad : grads) {
    EXPECT_EQ(peak(grad[0].slice(1, 0, 9)), 0.0);
    EXPECT_EQ(peak(grad[1].slice(1, 0, 4)) + peak(grad[1].slice(1, 7)), 0.0);
    EXPECT_GT(grad[0].slice(1, 9).abs().min().item<double>(), 0.0);
  }
}

// Each hop drops weights of its own.
TEST(Memory, DropsByTheSeed) {
  at::manual_seed(4);
  AttentionInput input = drawn_memory(6, 40, at::kFloat);
  input.call.dropout_p = 0.5, input.call.seed = 9;
  const auto attention = memory_of("tying=layer_wise,hops=2");
  const at::Tensor out = attention->forward(input).out;
  EXPECT_TRUE(attention->forward(input).out.equal(out));
  AttentionInput second = input;
  second.q = memory_of("tying=layer_wise,hops=1")->forward(input).out;
  second.call.seed = 10;
  EXPECT_LT(peak(memory_of("tying=layer_wise,hops=1")->forward(second).out - out), 1e-5);
}

TEST(Memory, RunsInBfloat16) {
  at::manual_seed(5);
  const AttentionInput wide = drawn_memory(9, 30, at::kFloat);
  AttentionInput input = wide;
  for (at::Tensor* t : {&input.q, &input.k, &input.v}) *t = t->to(at::kBFloat16);
  const at::Tensor out = memory_of("scale=0.2,size=20,temporal=true")->forward(input).out;
  EXPECT_EQ(out.scalar_type(), at::kBFloat16);
  EXPECT_LT(peak(out - memory_of("scale=0.2,size=20")->forward(wide).out), 0.05);
}

// The products of each hop, and of the maps between them.
TEST(Memory, CountsItsHops) {
  const auto products = [](const std::string& options) {
    return memory_of(options)->cost(10, 20, 4).multiply_adds;
  };
  const int64_t read = products("hops=1"), map = 10 * 4 * 4;
  EXPECT_EQ(products("hops=3"), 3 * read + 3 * map);
  EXPECT_EQ(products("hops=3,tying=layer_wise"), 3 * (read + map));
}

TEST(Memory, RefusesWhatDoesNotFit) {
  const auto refuses = [](const std::string& options, const std::string& part, auto&& change) {
    AttentionInput input = drawn_memory(3, 5, at::kFloat);
    change(input);
    const auto attention = memory_of(options);
    expect_error(ErrorKind::usage, {"[memory]", part}, [&] { attention->forward(input); });
  };
  refuses("hops=2", "the memory must hold something; found no keys", [](auto& in) {
    in.k = in.v = at::zeros({2, 2, 0, 4});
  });
  refuses("size=2", "causal order", [](auto& in) { in.call.causal = CausalAlignment::top_left; });
  refuses("size=2", "told by key_lengths alone", [](auto& in) {
    in.call.mask = at::ones({3, 5}, at::kBool);
  });
  refuses("size=2", "told by key_lengths alone", [](auto& in) { in.call.bias = at::zeros({3, 5}); });
  refuses("size=2", "key_lengths must be integers", [](auto& in) { in.call.key_lengths = at::tensor({3}); });
  refuses("size=2", "without a matrix of weights", [](auto& in) { in.call.observe.entropy = true; });
  const auto unread = [](const std::string& options, const std::string& part) {
    expect_error(ErrorKind::usage, {"[memory]", part}, [&] { parse_attention("memory:" + options); });
  };
  unread("hops=0", "hops must be a whole number from 1");
  unread("hops=1001", "hops must be at most 1000");
  unread("temporal=true", "temporal needs size");
  unread("size=3,causal=true", "goes with no causal order");
  unread("tying=adjacant", "Did you mean 'adjacent'?");
  expect_error(ErrorKind::usage, {"[memory] values must be of the size of queries", "5 and 4"},
               [] { memory_of("hops=1", 5); });
}

constexpr int64_t kWords = 11, kDims = 6;

struct Asked {
  at::Tensor story, question;
};

// 3 stories of 7 sentences of up to 5 words; some are empty, also at the end.
Asked drawn_questions() {
  Asked asked{at::randint(1, kWords, {3, 7, 5}), at::randint(1, kWords, {3, 4})};
  const at::Tensor words = at::randint(1, 6, {3, 7, 1});
  asked.story *= at::arange(5) < words;
  asked.story.select(0, 1).slice(0, 5).zero_();
  asked.story[2][3].zero_(), asked.story[2][6].zero_();
  asked.question[0].slice(0, 2).zero_();
  return asked;
}

// sum_j l_j T x_j, word by word.
at::Tensor sentence_by_hand(const at::Tensor& words, const at::Tensor& table, bool positions) {
  const int64_t count = words.ne(0).sum().item<int64_t>();
  at::Tensor sum = at::zeros({kDims}, at::kDouble);
  for (int64_t j = 1; j <= count; ++j) {
    at::Tensor l = at::ones({kDims}, at::kDouble);
    for (int64_t k = 1; positions && k <= kDims; ++k) {
      const double word = static_cast<double>(j) / static_cast<double>(count),
                   part = static_cast<double>(k) / static_cast<double>(kDims);
      l[k - 1] = (1 - word) - part * (1 - 2 * word);
    }
    sum = sum + l * table[words[j - 1].item<int64_t>()];
  }
  return sum;
}

// One story: logits, then what each hop read of each sentence.
std::vector<at::Tensor> answer_by_hand(const MemoryNetworkImpl& net, const MemoryNetworkOptions& o,
                                       const at::Tensor& story, const at::Tensor& question, bool linear) {
  const bool adjacent = o.tying == MemoryTying::adjacent, positions = o.position_encoding;
  const auto table = [&](const at::Tensor& first, const at::Tensor& rest, int64_t k) {
    return k == 0 ? first : rest[k - 1];
  };
  int64_t last = story.size(0) - 1;
  while (peak(story[last]) == 0) --last;
  std::vector<at::Tensor> results(1);
  at::Tensor u = sentence_by_hand(question, adjacent ? net.A : net.B, positions);
  for (int64_t hop = 0; hop < o.hops; ++hop) {
    const int64_t in = adjacent ? hop : 0, out = adjacent ? hop + 1 : 1;
    at::Tensor read = at::zeros({kDims}, at::kDouble), sum = at::zeros({}, at::kDouble),
               p = at::zeros({story.size(0)}, at::kDouble);
    for (int64_t i = 0; i <= last; ++i) {
      const int64_t age = last - i;
      if (age >= o.memories || peak(story[i]) == 0) continue;
      at::Tensor m = sentence_by_hand(story[i], table(net.A, net.C, in), positions),
                 c = sentence_by_hand(story[i], table(net.A, net.C, out), positions);
      if (o.temporal_encoding) {
        m = m + table(net.T_A, net.T_C, in)[age];
        c = c + table(net.T_A, net.T_C, out)[age];
      }
      const at::Tensor score = (u * m).sum(), weight = linear ? score : score.exp();
      read = read + weight * c, sum = sum + weight;
      p[i] = weight.detach();
    }
    if (linear) sum = at::ones({}, at::kDouble);
    u = (adjacent ? u : (net.H * u).sum(1)) + read / sum;
    results.push_back(p / sum.detach());
  }
  results[0] = ((adjacent ? net.C[o.hops - 1] : net.W) * u).sum(1);
  return results;
}

TEST(MemoryNetwork, EqualsItsRecurrenceByHand) {
  at::manual_seed(6);
  for (const auto& [tying, encoded, linear] :
       std::vector<std::tuple<MemoryTying, bool, bool>>{{MemoryTying::adjacent, true, false},
                                                        {MemoryTying::layer_wise, true, false},
                                                        {MemoryTying::adjacent, false, false},
                                                        {MemoryTying::layer_wise, false, true},
                                                        {MemoryTying::adjacent, true, true}}) {
    const MemoryNetworkOptions options{.words = kWords,
                                       .size = kDims,
                                       .hops = 3,
                                       .memories = 5,
                                       .tying = tying,
                                       .position_encoding = encoded,
                                       .temporal_encoding = encoded};
    MemoryNetwork network(options);
    network->to(at::kDouble);
    network->linear_start(linear);
    {
      const torch::NoGradGuard no_grad;
      for (auto& parameter : network->parameters()) parameter.mul_(5.0);
    }
    const Asked asked = drawn_questions();
    const MemoryAnswer answer = network->forward(asked.story, asked.question);
    ASSERT_EQ(answer.hops.size(), 3U);
    std::vector<at::Tensor> logits;
    for (int64_t b = 0; b < 3; ++b) {
      const auto by_hand = answer_by_hand(*network, options, asked.story[b], asked.question[b], linear);
      logits.push_back(by_hand[0]);
      for (size_t hop = 0; hop < 3; ++hop) {
        EXPECT_LT(peak(answer.hops[hop][b] - by_hand[hop + 1]), 1e-12) << hop;
      }
    }
    const at::Tensor expected = at::stack(logits), seen = at::randn_like(expected);
    EXPECT_LT(peak(answer.logits - expected) / peak(expected), 1e-12);
    const auto parameters = network->parameters();
    const auto found = torch::autograd::grad({(answer.logits * seen).sum()}, parameters),
               wanted = torch::autograd::grad({(expected * seen).sum()}, parameters);
    for (size_t i = 0; i < parameters.size(); ++i) {
      EXPECT_GT(peak(wanted[i]), 0.0) << i;
      EXPECT_LT(peak(found[i] - wanted[i]) / peak(wanted[i]), 1e-11) << i;
    }
  }
}

// That of scripts/parity_tests/memory_golden.py, with the same weights.
TEST(MemoryNetwork, EqualsMemN2N) {
  const io::TensorMap golden = io::load_tensors(FOVEA_TEST_DATA "/nn/memory.safetensors");
  const at::Tensor& first = golden.at("A");
  MemoryNetwork network(MemoryNetworkOptions{.words = first.size(0),
                                             .size = first.size(1),
                                             .hops = 3,
                                             .position_encoding = false,
                                             .temporal_encoding = false});
  network->to(at::kDouble);
  {
    const torch::NoGradGuard no_grad;
    network->A.copy_(first), network->C.copy_(golden.at("C"));
  }
  const at::Tensor logits = network->forward(golden.at("story"), golden.at("question")).logits;
  (logits * golden.at("seen")).sum().backward();
  EXPECT_LT(peak(logits - golden.at("logits")), 1e-12);
  EXPECT_LT(peak(network->A.grad() - golden.at("grad.A")), 1e-12);
  EXPECT_LT(peak(network->C.grad() - golden.at("grad.C")), 1e-12);
}

TEST(MemoryNetwork, WhatIsNotSaidHasNoInfluence) {
  at::manual_seed(7);
  MemoryNetwork network(MemoryNetworkOptions{.words = kWords, .size = kDims, .hops = 2, .memories = 4});
  const Asked asked = drawn_questions();
  const torch::NoGradGuard no_grad;
  const MemoryAnswer answer = network->forward(asked.story, asked.question);
  const MemoryAnswer padded = network->forward(at::constant_pad_nd(asked.story, {0, 2, 0, 3}),
                                               at::constant_pad_nd(asked.question, {0, 1}));
  EXPECT_LT(peak(padded.logits - answer.logits), 1e-6);
  EXPECT_EQ(peak(padded.hops[1].slice(1, 7)), 0.0);
  at::Tensor other = asked.story.clone();
  other[0].slice(0, 0, 3).fill_(1);
  const MemoryAnswer forgot = network->forward(other, asked.question);
  EXPECT_TRUE(forgot.logits.equal(answer.logits));
  EXPECT_EQ(peak(answer.hops[0][0].slice(0, 0, 3)), 0.0);
  EXPECT_LT(peak(answer.hops[1].sum(1) - 1), 1e-6);
  // An empty sentence is time that passes: those before it are older.
  other = at::constant_pad_nd(asked.story, {0, 0, 0, 1}).slice(0, 0, 1);
  other[0][7] = other[0][6], other[0][6].zero_();
  EXPECT_GT(peak(network->forward(other, asked.question.slice(0, 0, 1)).logits - answer.logits[0]), 1e-6);
}

TEST(MemoryNetwork, RefusesWhatDoesNotFit) {
  MemoryNetwork network(MemoryNetworkOptions{.words = kWords, .size = kDims});
  const auto refuses = [&](const std::string& part, const at::Tensor& story, const at::Tensor& question) {
    expect_error(ErrorKind::usage, {"[memory_network]", part}, [&] { network->forward(story, question); });
  };
  const at::Tensor story = at::ones({2, 3, 4}, at::kLong), question = at::ones({2, 4}, at::kLong);
  refuses("a story must be (B, M, J)", story[0], question);
  refuses("a story must be (B, M, J)", story, question.slice(0, 0, 1));
  refuses("a story must be (B, M, J)", story.to(at::kFloat), question);
  refuses("a story must be (B, M, J)", at::Tensor(), question);
  refuses("numbers of words below 11", story * kWords, question);
  refuses("numbers of words below 11", story, -question);
  refuses("each story must have a sentence", story.slice(1, 0, 0), question);
  at::Tensor empty = story.clone();
  empty[1].zero_();
  refuses("each story must have a sentence", empty, question);
  expect_error(ErrorKind::usage, {"[memory_network] words, size, hops and memories", "0, 32, 3 and 50"},
               [] { MemoryNetwork(MemoryNetworkOptions{}); });
}

}  // namespace
}  // namespace fovea::nn
