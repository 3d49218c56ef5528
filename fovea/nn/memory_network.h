#pragma once
#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <vector>

#include "fovea/nn/attention/memory.h"

namespace fovea::nn {

struct MemoryNetworkOptions {
  /// V: the words that there are, of which number 0 stands for none.
  int64_t words = 0;
  /// d
  int64_t size = 32;
  /// K
  int64_t hops = 3;
  /// The newest sentences that are kept of a story.
  int64_t memories = 50;
  MemoryTying tying = MemoryTying::adjacent;
  /// Where a word stands counts; otherwise a sentence is a bag of words.
  bool position_encoding = true;
  /// When a sentence was said counts.
  bool temporal_encoding = true;
};

struct MemoryAnswer {
  /// (B, V): what is the higher, the likelier the word.
  at::Tensor logits;
  /// Of each hop (B, M), what it read of each sentence of the story; they sum to 1 but in a linear start.
  std::vector<at::Tensor> hops;
};

/// An end-to-end memory network: sentences are a memory, which a question reads in hops; the last gives a
/// word.
///   m_i = sum_j l_j A x_ij + T_A(i),  c_i = sum_j l_j C x_ij + T_C(i),  u^1 = sum_j l_j B q_j
///   p = softmax(u . m_i),  o = sum_i p_i c_i,  u' = u + o or H u + o,  logits = W u^(K+1)
///   l_kj = (1 - j / J) - (k / d) (1 - 2 j / J) of word j of J, from 1; 1 without position_encoding
/// i counts from the newest sentence, in whose place in the story nothing but 0 may follow. Words 0 add
/// nothing, sentences of 0 alone are not read but count as time that passed. Parameters `A` (V, d), `C` (K,
/// V, d), `T_A` (memories, d), `T_C` (K, memories, d); adjacent: A of a hop is C of the one before, B = A, W
/// = C of the last. layer_wise: C and T_C are of all hops, (1, ...), and `B`, `W` (V, d), `H` (d, d) stand
/// beside. Normal of deviation 0.1. O(B M J d K) time.   Source: End-to-end memory networks (Sukhbaatar et
/// al. 2015), 2, 4.1, 4.2.
class MemoryNetworkImpl : public torch::nn::Module {
 public:
  /// Throws fovea::Error (usage) on sizes below 1.
  explicit MemoryNetworkImpl(const MemoryNetworkOptions& options);

  /// story (B, M, J), sentences from the oldest on; question (B, J'); int64 numbers of words. Throws
  /// fovea::Error (usage), before any work, on others and on a story without a sentence.
  MemoryAnswer forward(const at::Tensor& story, const at::Tensor& question);

  /// While it is on, p = u . m_i without softmax: a start from which training finds better weights (4.2).
  void linear_start(bool on) { linear_ = on; }

  at::Tensor A, B, C, H, T_A, T_C, W;

 private:
  struct Memories;
  void check(const at::Tensor& story, const at::Tensor& question) const;
  /// Sentences (..., J) as sums of rows of each table: (..., d).
  std::vector<at::Tensor> encoded(const at::Tensor& sentences, const std::vector<at::Tensor>& tables) const;
  Memories kept(const at::Tensor& story) const;

  MemoryNetworkOptions options_;
  bool linear_ = false;
};
TORCH_MODULE(MemoryNetwork);

}  // namespace fovea::nn
