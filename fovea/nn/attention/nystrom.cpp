#include "fovea/nn/attention/nystrom.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_pinv.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "fovea/core/error.h"
#include "fovea/nn/attention/key_counts.h"
#include "fovea/ops/operands.h"

namespace fovea::nn {
namespace {

// As in the paper's experiments, and transformers' default.
constexpr int64_t kLandmarks = 64;

// Steps converge quadratically: past some dozens they only cost time.
constexpr int64_t kMostIterations = 1000;

// Means of `count` segments of rows (..., T, D), count <= T; the last T modulo count have a row more.
at::Tensor segment_means(const at::Tensor& rows, int64_t count) {
  const int64_t length = rows.size(-2);
  if (count == length) return rows;
  const int64_t size = length / count, longer = length % count, split = (count - longer) * size;
  const auto means = [&](int64_t begin, int64_t segments, int64_t of) {
    return rows.narrow(-2, begin, segments * of).unflatten(-2, {segments, of}).mean(-2);
  };
  if (longer == 0) return means(0, count, size);
  return at::cat({means(0, count - longer, size), means(split, longer, size + 1)}, -2);
}

// (B, 1, T, 1): whether a position is one of the first so many of its batch entry.
at::Tensor among_first(const at::Tensor& counts, int64_t length, const at::Tensor& like) {
  return (at::arange(length, counts.options()) < counts.unsqueeze(1))
      .to(like.device())
      .view({-1, 1, length, 1});
}

}  // namespace

void NystromOptions::check(const std::string& where) const {
  if (conv_kernel_size > 0 && conv_kernel_size % 2 == 0) {
    throw usage_error(where, "conv_kernel_size must be odd, or 0", std::to_string(conv_kernel_size),
                      "A position has as many on either side.");
  }
  if (exact && iterations != NystromOptions().iterations) {
    throw usage_error(where, "iterations belong to a pseudo-inverse by steps",
                      std::to_string(iterations) + " with exact=true", "Leave one out.");
  }
  if (iterations > kMostIterations) {
    throw usage_error(where, "iterations must be at most " + std::to_string(kMostIterations),
                      std::to_string(iterations), "Choose fewer, or exact=true.");
  }
}

NystromAttention::NystromAttention(AttentionKind kind, const AttentionShape& shape,
                                   const NystromOptions& options)
    : Attention(std::move(kind), shape), options_(options) {
  const int64_t size = options.conv_kernel_size;
  if (size == 0) return;
  conv = register_module("conv", Conv2d(torch::nn::Conv2dOptions(shape.heads, shape.heads, {size, 1})
                                            .padding({size / 2, 0})
                                            .groups(shape.heads)
                                            .bias(false)));
}

int64_t NystromAttention::landmark_count(int64_t length) const {
  return std::min(options_.landmarks.value_or(kLandmarks), length);
}

// (B, heads, landmarks, D); 0 beyond the landmarks of an entry.
at::Tensor NystromAttention::landmarks(const at::Tensor& rows,
                                       const std::optional<at::Tensor>& lengths) const {
  const int64_t most = landmark_count(rows.size(2));
  if (!lengths) return segment_means(rows, most);
  std::vector<at::Tensor> entries;
  for (int64_t b = 0; b < rows.size(0); ++b) {
    const int64_t length = lengths->const_data_ptr<int64_t>()[b], count = std::min(most, length);
    const at::Tensor means = segment_means(rows.select(0, b).narrow(1, 0, length), count);
    entries.push_back(at::constant_pad_nd(means, {0, 0, 0, most - count}));
  }
  return at::stack(entries);
}

at::Tensor NystromAttention::inverse(const at::Tensor& a) const {
  if (options_.exact) return at::linalg_pinv(a, std::optional<double>(), std::optional<double>(), false);
  const at::Tensor norms = a.sum(-2, true).amax(-1, true) * a.sum(-1, true).amax(-2, true);
  const at::Tensor one = at::eye(a.size(-1), a.options().requires_grad(false));
  at::Tensor z = a.transpose(-2, -1) / at::where(norms > 0, norms, at::ones_like(norms));
  for (int64_t step = 0; step < options_.iterations; ++step) {
    const at::Tensor az = at::matmul(a, z);
    const at::Tensor inner = 15 * one - at::matmul(az, 7 * one - az);
    z = 0.25 * at::matmul(z, 13 * one - at::matmul(az, inner));
  }
  return z;
}

// Each number of a head is a channel, so that rows stay as they lie and no channel is made up to fill a
// vector.
at::Tensor NystromAttention::convolved(const at::Tensor& v, const std::optional<at::Tensor>& lengths) const {
  const int64_t size = v.size(3), channels = shape().heads * size, kernel = options_.conv_kernel_size;
  at::Tensor values = with_heads(v, shape().heads);
  if (lengths) {
    values = at::where(among_first(*lengths, v.size(2), v), values, at::zeros({}, v.options()));
  }
  const at::Tensor weight =
      conv->weight.to(v.scalar_type()).view({-1, 1, 1, kernel}).repeat_interleave(size, 0);
  const at::Tensor out =
      at::conv2d(values.transpose(2, 3).reshape({v.size(0), channels, 1, v.size(2)}), weight, /*bias=*/{},
                 /*stride=*/1, /*padding=*/at::IntArrayRef({0, kernel / 2}), /*dilation=*/1, channels);
  return out.view({v.size(0), shape().heads, size, v.size(2)}).transpose(2, 3);
}

AttentionOutput NystromAttention::run(const AttentionInput& input) {
  const at::Tensor &q = input.q, &k = input.k, &v = input.v;
  if (q.numel() == 0) return {attend(q, k, v).out, {}, {}};
  if (options_.landmarks && *options_.landmarks > q.size(2)) {
    refuse("landmarks must be at most the positions of the sequence",
           std::to_string(*options_.landmarks) + " of " + std::to_string(q.size(2)),
           "Left out, they are never too many.");
  }
  const auto lengths = key_counts(mechanism(), input);
  const at::Tensor queries = landmarks(q, lengths), keys = with_heads(landmarks(k, lengths), shape().heads);
  AttendOptions over_keys, over_landmarks;
  over_keys.key_lengths = lengths;
  if (lengths) over_landmarks.key_lengths = lengths->clamp_max(keys.size(2));
  const at::Tensor summaries = attend(queries, k, v, over_keys).out;

  AttendOptions between = over_landmarks;
  between.weights = true;
  at::Tensor a = attend(widened(queries), widened(keys), widened(keys), between).weights;
  if (lengths) a = a * among_first(*over_landmarks.key_lengths, a.size(2), a);
  const at::Tensor values = at::matmul(inverse(a), widened(summaries)).to(v.scalar_type());

  const at::Tensor out = attend(q, keys, values, over_landmarks).out;
  return {conv.is_empty() ? out : out + convolved(v, lengths), {}, {}};
}

AttentionCost NystromAttention::cost(int64_t n, int64_t m, int64_t d) const {
  const int64_t count = landmark_count(n), square = count * count;
  AttentionCost cost;
  cost.multiply_adds = 2 * (n + m) * count * d + 3 * square * d + n * d * options_.conv_kernel_size;
  if (!options_.exact) cost.multiply_adds += 4 * options_.iterations * square * count;
  // Keys and values as the kernel reads them, before there is a result; or what the convolution rearranges.
  const int64_t convolved = conv.is_empty() ? 0 : 3 * n * d;
  cost.bytes = std::max((2 * m - n) * d, convolved) * kFloatBytes;
  return cost;
}

AttentionEntry nystrom_attention() {
  return attention_entry<NystromAttention>(
      {"nystrom",
       "out = softmax(q k~^T) softmax(q~ k~^T)^+ softmax(q~ k^T) v, scaled by 1 / sqrt(D); q~, k~ means of "
       "segments",
       "Xiong et al. 2021, Nystromformer, 3.2", "O(N L D + L^3) time, L landmarks, O(N) memory", "fused"},
      {.causal_ok = false,
       .supports_cross = false,
       .takes_masks = false,
       .takes_biases = false,
       .gives_weights = false,
       .observes = false,
       .takes_packed = false},
      NystromOptions{});
}

}  // namespace fovea::nn
