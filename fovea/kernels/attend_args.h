#pragma once
#include <cstdint>
#include <span>

#include "fovea/mods/tile_program.h"

namespace fovea::kernels {

/// The types of a kernel's operands. Products are made of bfloat16 where the CPU has them and of float32
/// otherwise; sums are float32 always.
enum class Type { f32, bf16, f16 };

/// A (batch, head, row, column) operand with unit column stride; strides in elements.
struct Operand {
  const void* data;
  int64_t batch, head, row;
};

struct Output {
  void* data;
  int64_t batch, head, row;
};

/// heads is a multiple of kv_heads; dim and value_dim are in 1 ... 256; queries and keys below 2^29.
struct AttendSizes {
  int64_t batch, heads, kv_heads, queries, keys, dim, value_dim;
};

/// Functors of one call, in order: each score takes what the one before gives, and a pair may attend where
/// every mask lets it. The programs must outlive the call.
using TilePrograms = std::span<const TileProgram>;

/// Drops the weight of a pair where its 16 random bits are below `threshold`, and multiplies the others by
/// `scale`; threshold 0: drops none. The bits are the half (q / 16) % 2 of the word (q / 32) % 4 of
/// philox(seed, {q / 128 * 16 + q % 16, k, head, batch}): neighbours along queries and along keys come from
/// one vector.
struct Dropout {
  uint64_t seed = 0;
  uint32_t threshold = 0;
  float scale = 1.0f;
};

/// How scores become weights. A sink is one more score of each row, without a value.
struct Normaliser {
  enum class Kind { softmax, sigmoid } kind = Kind::softmax;
  /// softmax: (H), natural. May be null: none.
  const float* sinks = nullptr;
  /// sigmoid: is added to the scores.
  float bias = 0.0f;
};

struct ForwardArgs {
  AttendSizes n;
  Type type;
  Operand q, k, v;
  Output out;
  /// Natural log-sum-exp of each row of scores and its sink, (B, H, N) contiguous; -inf where a query sees
  /// neither. -bias where the normaliser is sigmoid. May be null.
  float* lse;
  /// The result before it is rounded, (B, H, N, Dv) contiguous, for attend_backward(). May be null.
  float* unrounded;
  float scale;
  TilePrograms programs;
  Dropout dropout;
  Normaliser normaliser;
};

/// out = dropout(normalise(mask(score(scale q k^T)))) v, tile by tile. See attend() of ops for the meaning.
/// Deterministic, whatever the number of threads. A key that a query may not see has no influence on it, NaN
/// and infinity included; a query that sees none gives 0. O(B H N M (D + Dv)) time, O(B Hkv M (D + Dv))
/// memory, or O(M (D + Dv)) a thread where a mask lets few queries see few keys. Throws std::bad_alloc.
/// Source of the online softmax: Milakov and Gimelshein 2018, algorithm 3; of the tiling: FlashAttention (Dao
/// et al. 2022), 3.1.
void attend_forward(const ForwardArgs& args);

struct BackwardArgs {
  AttendSizes n;
  Type type;
  Operand q, k, v, grad_out;
  /// What the forward gave: log-sum-exp (B, H, N), and the result before it was rounded, (B, H, N, Dv) in
  /// float32; both contiguous.
  const float *lse, *out;
  /// d(loss) / d(lse), (B, H, N) contiguous. May be null.
  const float* grad_lse;
  /// Of the type of q, k, v.
  Output grad_q, grad_k, grad_v;
  float scale;
  TilePrograms programs;
  Dropout dropout;
  /// Batch entries that one thread takes in turn, whose sums of what is learned are therefore one.
  int64_t chunk = 1;
  Normaliser normaliser;
  /// d(loss) / d(sink) of each batch entry, (B, H) contiguous. May be null.
  float* grad_sinks = nullptr;
};

/// Gradients of attend_forward() by q, k and v, and the sums of the programs that learn. Scores are computed
/// anew, tile by tile, transposed: keys are rows, so that what belongs to a query lies along the vector.
/// Deterministic, whatever the number of threads. O(B H N M (D + Dv)) time; a thread takes O((H / Hkv) N (D +
/// Dv)) memory. Throws std::bad_alloc. Source: FlashAttention (Dao et al. 2022), appendix B.2.
void attend_backward(const BackwardArgs& args);

}  // namespace fovea::kernels
