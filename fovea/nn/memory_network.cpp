#include "fovea/nn/memory_network.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>

#include "fovea/core/error.h"
#include "fovea/nn/attention/newest.h"
#include "fovea/ops/attend.h"
#include "fovea/ops/describe.h"

namespace fovea::nn {
namespace {

constexpr const char* kMemoryNetwork = "memory_network";

// (..., J, d), 0 for words that there are not.
at::Tensor weights_of_words(const at::Tensor& sentences, bool position_encoding, const at::Tensor& table) {
  const auto floats = table.options().requires_grad(false);
  const at::Tensor said = (sentences != 0).to(floats.dtype());
  if (!position_encoding) return said.unsqueeze(-1);
  const at::Tensor j = (at::arange(1, sentences.size(-1) + 1, floats) / said.sum(-1, true).clamp_min(1))
                           .unsqueeze(-1),
                   k = at::arange(1, table.size(1) + 1, floats) / table.size(1);
  return ((1 - j) - k * (1 - 2 * j)) * said.unsqueeze(-1);
}

// What a hop read, (B, d), and what it read it of, (B, S).
std::pair<at::Tensor, at::Tensor> read_softly(const at::Tensor& u, const at::Tensor& m, const at::Tensor& c,
                                              const at::Tensor& seen) {
  AttendOptions options;
  options.scale = 1.0;
  options.mask = seen.unsqueeze(1).unsqueeze(2);
  options.weights = true;
  const AttendResult result = attend(u.unsqueeze(1).unsqueeze(2), m.unsqueeze(1), c.unsqueeze(1), options);
  return {result.out.flatten(0, 2), result.weights.flatten(0, 2)};
}

std::pair<at::Tensor, at::Tensor> read_linearly(const at::Tensor& u, const at::Tensor& m, const at::Tensor& c,
                                                const at::Tensor& seen) {
  const at::Tensor p = at::matmul(m, u.unsqueeze(2)) * seen.unsqueeze(2).to(m.scalar_type());
  return {at::matmul(p.transpose(1, 2), c).squeeze(1), p.squeeze(2)};
}

}  // namespace

// What the hops read, the newest sentence first.
struct MemoryNetworkImpl::Memories {
  at::Tensor newest, seen;
  std::vector<at::Tensor> rows;
};

MemoryNetworkImpl::MemoryNetworkImpl(const MemoryNetworkOptions& options) : options_(options) {
  const auto& [words, size, hops, memories, tying, position_encoding, temporal_encoding] = options;
  if (std::min({words, size, hops, memories}) < 1) {
    throw usage_error(kMemoryNetwork, "words, size, hops and memories must be at least 1",
                      std::to_string(words) + ", " + std::to_string(size) + ", " + std::to_string(hops) +
                          " and " + std::to_string(memories),
                      "Choose others.");
  }
  const bool adjacent = tying == MemoryTying::adjacent;
  const int64_t outputs = adjacent ? hops : 1;
  const auto drawn = [&](const char* name, at::IntArrayRef sizes) {
    return register_parameter(name, at::randn(sizes) * 0.1);
  };
  A = drawn("A", {words, size});
  C = drawn("C", {outputs, words, size});
  if (temporal_encoding) {
    T_A = drawn("T_A", {memories, size});
    T_C = drawn("T_C", {outputs, memories, size});
  }
  if (adjacent) return;
  B = drawn("B", {words, size});
  W = drawn("W", {words, size});
  H = drawn("H", {size, size});
}

void MemoryNetworkImpl::check(const at::Tensor& story, const at::Tensor& question) const {
  const auto known = [&](const at::Tensor& t, int64_t dims) {
    if (!t.defined() || t.dim() != dims || t.scalar_type() != at::kLong) return false;
    if (t.numel() == 0) return true;
    const auto [least, most] = at::aminmax(t);
    return least.item<int64_t>() >= 0 && most.item<int64_t>() < options_.words;
  };
  if (!known(story, 3) || !known(question, 2) || story.size(0) != question.size(0)) {
    throw usage_error(kMemoryNetwork,
                      "a story must be (B, M, J), a question (B, J), int64 numbers of words below " +
                          std::to_string(options_.words),
                      describe(story) + " and " + describe(question), "Give the words of one vocabulary.");
  }
  if (story.size(1) == 0 || !(story != 0).any(2).any(1).all().item<bool>()) {
    throw usage_error(kMemoryNetwork, "each story must have a sentence", "one of words 0 alone",
                      "Leave out what cannot be answered.");
  }
}

std::vector<at::Tensor> MemoryNetworkImpl::encoded(const at::Tensor& sentences,
                                                   const std::vector<at::Tensor>& tables) const {
  const at::Tensor l = weights_of_words(sentences, options_.position_encoding, A);
  std::vector<at::Tensor> sums;
  for (const auto& table : tables) sums.push_back((at::embedding(table, sentences) * l).sum(-2));
  return sums;
}

MemoryNetworkImpl::Memories MemoryNetworkImpl::kept(const at::Tensor& story) const {
  const int64_t count = std::min(options_.memories, story.size(1));
  const at::Tensor said = (story != 0).any(2),
                   lengths = (said * at::arange(1, story.size(1) + 1, story.options())).amax(1);
  Memories found;
  found.newest = newest_first(lengths, count);
  found.seen = said.gather(1, found.newest) & (at::arange(count, story.options()) < lengths.unsqueeze(1));
  const auto with_first = [](const at::Tensor& first, const at::Tensor& rest) {
    std::vector<at::Tensor> all = rest.unbind(0);
    all.insert(all.begin(), first);
    return all;
  };
  const at::Tensor sentences = story.gather(1, found.newest.unsqueeze(2).expand({-1, -1, story.size(2)}));
  found.rows = encoded(sentences, with_first(A, C));
  if (!T_A.defined()) return found;
  const auto times = with_first(T_A, T_C);
  for (size_t i = 0; i < times.size(); ++i) found.rows[i] = found.rows[i] + times[i].narrow(0, 0, count);
  return found;
}

MemoryAnswer MemoryNetworkImpl::forward(const at::Tensor& story, const at::Tensor& question) {
  check(story, question);
  const bool adjacent = !H.defined();
  const Memories found = kept(story);
  MemoryAnswer answer;
  at::Tensor u = encoded(question, {adjacent ? A : B}).front();
  for (int64_t hop = 0; hop < options_.hops; ++hop) {
    const auto &m = found.rows[adjacent ? hop : 0], &c = found.rows[adjacent ? hop + 1 : 1];
    const auto [o, p] = linear_ ? read_linearly(u, m, c, found.seen) : read_softly(u, m, c, found.seen);
    u = (adjacent ? u : at::linear(u, H)) + o;
    answer.hops.push_back(in_order(p, found.newest, story.size(1)));
  }
  answer.logits = at::linear(u, adjacent ? C.select(0, options_.hops - 1) : W);
  return answer;
}

}  // namespace fovea::nn
