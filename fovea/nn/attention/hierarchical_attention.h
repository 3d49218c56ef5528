#pragma once
#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/rnn.h>

#include <cstdint>
#include <string>

#include "fovea/nn/layers.h"

namespace fovea::nn {

/// Sequences pooled to a vector each, and what every row weighed in its own.
struct PooledSequences {
  /// (S, 2 hidden)
  at::Tensor out;
  /// (rows), those of a sequence sum to 1.
  at::Tensor weights;
};

/// One level of a hierarchical attention network: sequences, read by a bidirectional GRU, become a vector
/// each.
///   h_t = [GRU forwards; GRU backwards],   u_t = tanh(W h_t + b),   a = softmax_t(u_t . context),
///   out = sum_t a_t h_t
/// rows (sum of lengths, size) of sequences behind each other, lengths (S) int64 on the CPU, above 0. Keys
/// `gru` (torch's), `attention` (W, b) and `context` (2 hidden). O(T) steps for the longest sequence.
/// Source: Hierarchical attention networks (Yang et al. 2016), equations 1 to 7; the GRU is torch's.
class AttentivePoolingImpl : public torch::nn::Module {
 public:
  AttentivePoolingImpl(int64_t size, int64_t hidden);
  PooledSequences forward(const at::Tensor& rows, const at::Tensor& lengths);

  torch::nn::GRU gru{nullptr};
  Linear attention{nullptr};
  at::Tensor context;
};
TORCH_MODULE(AttentivePooling);

struct HierarchicalAttentionOptions {
  /// Of the rows of words.
  int64_t size = 200;
  /// Of a direction of each GRU.
  int64_t word_hidden = 50, sentence_hidden = 50;
};

/// Documents and both of their heat maps.
struct DocumentVectors {
  /// (D, 2 sentence_hidden)
  at::Tensor out;
  /// (W) and (S): what each word weighed in its sentence, each sentence in its document.
  at::Tensor words, sentences;
};

/// A hierarchical attention network: words become sentences, sentences become documents, each level by
/// AttentivePooling.
/// words (W, size) of all documents behind each other; sentences (S + 1), the offsets of sentences among the
/// words; documents (D + 1), those of documents among the sentences. Nothing is padded that could be seen.
/// Keys `word` and `sentence`. Throws fovea::Error (usage) unless offsets rise from 0 to the end.   Source:
/// Hierarchical attention networks for document classification (Yang et al. 2016), section 2.
class HierarchicalAttentionImpl : public torch::nn::Module {
 public:
  explicit HierarchicalAttentionImpl(const HierarchicalAttentionOptions& options);
  DocumentVectors forward(const at::Tensor& words, const at::Tensor& sentences, const at::Tensor& documents);

  AttentivePooling word{nullptr}, sentence{nullptr};

 private:
  int64_t size_;
};
TORCH_MODULE(HierarchicalAttention);

}  // namespace fovea::nn
