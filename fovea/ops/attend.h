#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace fovea {

class AttendFunctors;

/// Which keys a causal query i of N sees of M: none more than all (none), j <= i (top_left, as PyTorch), or
/// j <= i + M - N (bottom_right, as when the first keys come from a cache).
enum class CausalAlignment { none, top_left, bottom_right };

/// Query i sees keys i - left <= j <= i + right, both inclusive; an empty side is open.
struct AttendWindow {
  std::optional<int64_t> left, right;
};

/// Query i of batch entry b sees the keys j with query_ids[b, i] = key_ids[b, j]; (B, N) and (B, M),
/// integers.
struct AttendSegments {
  at::Tensor query_ids, key_ids;
};

/// Boolean (B|1, H|1, ceil(N / size), ceil(M / size)): the queries of a block row may attend to the keys of a
/// block column where it is true. Source: BigBird (Zaheer et al. 2020), section 2.
struct AttendBlocks {
  at::Tensor mask;
  int64_t size;
};

/// A number, or one for each head of q: (H), floating point, may learn.
using PerHead = std::variant<double, at::Tensor>;

/// s_ij = scale q_i.k_j with AttendOptions::scale.   Source: Vaswani et al. 2017, 3.2.1.
struct ScaledDot {};

/// s_ij = scale_h q_i.k_j / (|q_i| |k_j|); norms below 1e-12 count as 1e-12, as in torch's normalize, so that
/// a vector of 0 has the score 0 with all. Swin v2's scale is 1 / tau, the exponential of its clamped
/// logit_scale.   Source: Swin Transformer V2 (Liu et al. 2022), section 3.3.
struct Cosine {
  PerHead scale = 1.0;
};

/// s_ij = -|q_i - k_j|^2 / (2 width_h^2), width > 0: softmax of it is the Nadaraya-Watson estimate with a
/// Gaussian kernel. Made of products, so that it errs by 2^-23 (|q_i|^2 + |k_j|^2) / width^2: points far from
/// the origin want their mean taken off.   Source: Nadaraya 1964; Watson 1964.
struct Gaussian {
  PerHead width = 1.0;
};

/// How alike a query and a key are.
using AttendSimilarity = std::variant<ScaledDot, Cosine, Gaussian>;

/// Positions in a grid, row by row, and a number for each difference of rows and columns of (height, width).
/// `table` (H|1, (2 height - 1)(2 width - 1)): entry (y_i - y_j + height - 1)(2 width - 1) + x_i - x_j +
/// width - 1 is added to s_ij. N = M = height width.   Source: Swin Transformer (Liu et al. 2021), section
/// 3.2, whose relative_position_bias_table is the transpose.
struct AttendGrid {
  at::Tensor table;
  int64_t height, width;
};

/// weights_ij = exp(s_ij) / sum_j exp(s_ij)
struct Softmax {};

/// A score of each head's own stands in the sum, without a value: a query may attend to nothing.
/// weights_ij = exp(s_ij) / (exp(scores_h) + sum_j exp(s_ij))
/// `scores` (H), floating point, may learn; 0 when empty. -inf is softmax.   Source: Attention is off by one
/// (Miller 2023), where they are 0; the gpt-oss model card (OpenAI 2025), where each head learns one.
struct SoftmaxSink {
  std::optional<at::Tensor> scores;
};

/// weights_ij = 1 / (1 + exp(-s_ij - bias)), each pair by itself.
/// `bias` is -log(M), which makes the sum of a row about 1 where scores are near 0; M counts all keys of the
/// call, hidden ones too.   Source: Theory, analysis and best practices for sigmoid self-attention (Ramapuram
/// et al. 2024), section 2.
struct Sigmoid {
  std::optional<double> bias;
};

/// The point of the simplex that is nearest to the scores: weights_ij = max(s_ij - tau_i, 0), tau_i such that
/// they sum to 1. Weights of low scores are exactly 0. O(M log M) a query beside the products.   Source: From
/// softmax to sparsemax (Martins and Astudillo 2016), algorithm 1.
struct Sparsemax {};

/// Between softmax and sparsemax: weights_ij = max((alpha_h - 1) s_ij - tau_i, 0)^(1 / (alpha_h - 1)), tau_i
/// such that they sum to 1; towards alpha 1 softmax, at 2 sparsemax. alpha in (1, 2], which 1.0001 stands for
/// where a tensor holds less. O(M log M) a query beside the products at 1.5, otherwise some 10 powers of each
/// score, in float64.   Source: Sparse sequence-to-sequence models (Peters et al. 2019), algorithm 2; learned
/// alpha: Adaptively sparse transformers (Correia et al. 2019), section 3.
struct Entmax {
  PerHead alpha = 1.5;
};

/// How scores become weights. A key that a query may not see has weight 0 by each of them.
using AttendNormaliser = std::variant<Softmax, SoftmaxSink, Sigmoid, Sparsemax, Entmax>;

/// What stands between q, k and the weighted sum. Masks join: a pair may attend where all of them let it. The
/// score of a pair is   bias + relative + ALiBi + functors(softcap(similarity(q, k))).
struct AttendOptions {
  AttendSimilarity similarity = ScaledDot{};
  /// Factor on q.k of ScaledDot; 1 / sqrt(D) when empty.
  std::optional<double> scale;
  /// c tanh(s / c), c > 0.   Source: Gemma 2 (Gemma Team 2024), section 2.
  std::optional<double> softcap;
  /// Score and mask functors, made by bind() of ops/attend_functors.h.
  std::shared_ptr<const AttendFunctors> functors;
  /// (H) or (B, H): adds -slope |i - j|.   Source: ALiBi (Press et al. 2022), section 3.
  std::optional<at::Tensor> alibi_slopes;
  /// (H|1, 2 R + 1): adds table[h, R + clamp(j - i, -R, R)].   Source: relative positions (Shaw et al. 2018),
  /// 3.2, as one number a head and distance.
  std::optional<at::Tensor> relative_table;
  /// A table by rows and columns of a grid, such as a window of an image.
  std::optional<AttendGrid> relative_grid;
  /// (H|1, 2 R + 1, D), of ScaledDot: adds scale q_i.keys[h, R + clamp(j - i, -R, R)], in memory O(B H N
  /// (N + M)).   Source: relative positions (Shaw et al. 2018), 3.2; Music Transformer (Huang et al. 2018),
  /// 3.4.1.
  std::optional<at::Tensor> relative_keys;
  /// Added to the scores, broadcastable to (B, H, N, M).
  std::optional<at::Tensor> bias;

  CausalAlignment causal = CausalAlignment::none;
  std::optional<AttendWindow> window;
  /// (B), integers: batch entry b has key_lengths[b] keys, the rest is padding.
  std::optional<at::Tensor> key_lengths;
  std::optional<AttendSegments> segments;
  std::optional<AttendBlocks> blocks;
  /// Boolean, broadcastable to (B, H, N, M): true = may attend.
  std::optional<at::Tensor> mask;

  AttendNormaliser normaliser = Softmax{};

  /// Probability that a weight is dropped (and the rest scaled by 1 / (1 - p)), in [0, 1), to 1 / 65536.
  double dropout_p = 0.0;
  /// The weights that are dropped are a function of it and of (b, h, i, j) alone, whatever runs and on
  /// however many threads. Drawn from torch's generator when empty.
  std::optional<uint64_t> seed;
  /// Also return the weights.
  bool weights = false;
  /// Also return the log-sum-exp of each query's scores, a sink's included, with which results over parts of
  /// the keys merge (a sink belongs to one part). Of softmax only, with or without sink.
  bool lse = false;
};

struct AttendResult {
  at::Tensor out;
  /// (B, H, N, M), after dropout; undefined unless asked for.
  at::Tensor weights;
  /// (B, H, N), natural, float32 (float64 of float64); -inf where a query sees neither key nor sink, and
  /// undefined unless asked for. Differentiable.
  at::Tensor lse;
};

/// Attention: a weighted sum of values.   out = normalise(mask(score(scale q k^T))) v
/// q (B, H, N, D), k (B, Hkv, M, D), v (B, Hkv, M, Dv) -> out (B, H, N, Dv); H a multiple of Hkv (grouped
/// queries). A query that may see no key gives 0, with gradient 0; a key that a query may not see has no
/// influence on it, NaN and infinity included. Runs the first implementation that can, see attend_choice().
/// Gradients reach q, k, v, numbers of each head, tables, biases, alibi_slopes, a sink and what a functor
/// learns.
/// Throws fovea::Error (usage) on shapes, types or numbers that do not fit.   O(B H N M (D + Dv)) time; fused
/// O(B Hkv M (D + Dv)) memory, otherwise O(B H N M). Source: Vaswani et al. 2017, Attention is all you need,
/// 3.2.1.
AttendResult attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    const AttendOptions& options = {});

/// Which implementation attend() runs, and why those before it cannot.
struct AttendChoice {
  std::string name;  ///< decode, fused, sdpa or composed; shapes of tensors without numbers
  /// "fused: the weights are asked for"
  std::vector<std::string> refusals;
};

/// The choice of attend() for these arguments. With FOVEA_VERBOSE=dispatch in the environment attend() itself
/// writes it to stderr, a line a call. Errors as attend().
AttendChoice attend_choice(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const AttendOptions& options = {});

}  // namespace fovea
