#include "fovea/nn/attention/hierarchical_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tanh.h>
#include <torch/nn/utils/rnn.h>

#include <cmath>
#include <tuple>

#include "fovea/core/error.h"
#include "fovea/ops/attend.h"
#include "fovea/ops/describe.h"

namespace fovea::nn {
namespace {

constexpr const char* kHierarchical = "hierarchical_attention";

// (S), int64, on the CPU, of offsets (S + 1) among `total` rows.
at::Tensor lengths_of(const at::Tensor& offsets, int64_t total, const char* name) {
  const bool whole = offsets.defined() && offsets.dim() == 1 && offsets.size(0) >= 2 &&
                     at::isIntegralType(offsets.scalar_type(), /*includeBool=*/false);
  if (whole) {
    const at::Tensor known = offsets.to(at::kCPU, at::kLong), lengths = known.diff();
    if (known[0].item<int64_t>() == 0 && known[-1].item<int64_t>() == total &&
        lengths.min().item<int64_t>() > 0) {
      return lengths.contiguous();
    }
  }
  throw usage_error(kHierarchical,
                    std::string("the offsets of ") + name + " must be integers that rise from 0 to " +
                        std::to_string(total),
                    describe(offsets), "Leave empty ones out.");
}

}  // namespace

AttentivePoolingImpl::AttentivePoolingImpl(int64_t size, int64_t hidden) {
  gru = register_module("gru", torch::nn::GRU(torch::nn::GRUOptions(size, hidden).bidirectional(true)));
  attention = register_module("attention", Linear(2 * hidden, 2 * hidden));
  context =
      register_parameter("context", at::randn({2 * hidden}) / std::sqrt(static_cast<double>(2 * hidden)));
}

PooledSequences AttentivePoolingImpl::forward(const at::Tensor& rows, const at::Tensor& lengths) {
  namespace rnn = torch::nn::utils::rnn;
  const int64_t count = lengths.size(0);
  const auto parts = rows.split_with_sizes({lengths.const_data_ptr<int64_t>(), static_cast<size_t>(count)});
  const auto read = gru->forward_with_packed_input(rnn::pack_sequence(parts, /*enforce_sorted=*/false));
  const at::Tensor h = std::get<0>(rnn::pad_packed_sequence(std::get<0>(read), /*batch_first=*/true));
  AttendOptions options;
  options.scale = 1.0;
  options.key_lengths = lengths.to(h.device());
  options.weights = true;
  const at::Tensor u = at::tanh(attention->forward(h));
  const AttendResult pooled =
      attend(context.expand({count, 1, 1, -1}), u.unsqueeze(1), h.unsqueeze(1), options);
  const at::Tensor there =
      at::arange(h.size(1), options.key_lengths->options()) < options.key_lengths->unsqueeze(1);
  return {pooled.out.flatten(1), pooled.weights.flatten(1).masked_select(there)};
}

HierarchicalAttentionImpl::HierarchicalAttentionImpl(const HierarchicalAttentionOptions& options)
    : size_(options.size) {
  if (options.size < 1 || options.word_hidden < 1 || options.sentence_hidden < 1) {
    throw usage_error(kHierarchical, "sizes must be at least 1",
                      std::to_string(options.size) + ", " + std::to_string(options.word_hidden) + " and " +
                          std::to_string(options.sentence_hidden),
                      "The paper has 200, 50 and 50.");
  }
  word = register_module("word", AttentivePooling(options.size, options.word_hidden));
  sentence = register_module("sentence", AttentivePooling(2 * options.word_hidden, options.sentence_hidden));
}

DocumentVectors HierarchicalAttentionImpl::forward(const at::Tensor& words, const at::Tensor& sentences,
                                                   const at::Tensor& documents) {
  if (!words.defined() || words.dim() != 2 || words.size(1) != size_) {
    throw usage_error(kHierarchical, "words must be (W, " + std::to_string(size_) + ")", describe(words),
                      "Give each word its row.");
  }
  const at::Tensor of_sentences = lengths_of(sentences, words.size(0), "sentences"),
                   of_documents = lengths_of(documents, of_sentences.size(0), "documents");
  const PooledSequences read = word->forward(words, of_sentences);
  const PooledSequences whole = sentence->forward(read.out, of_documents);
  return {whole.out, read.weights, whole.weights};
}

}  // namespace fovea::nn
