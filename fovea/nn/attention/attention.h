#pragma once
#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <cstdint>
#include <optional>
#include <string>

#include "fovea/ops/attend.h"
#include "fovea/ops/attend_observe.h"

namespace fovea::nn {

/// Where the positions of a sequence lie: `prefix` tokens (such as a class token), then rows x columns places
/// of a grid, row by row.
struct GridPositions {
  int64_t rows = 0, columns = 0, prefix = 0;

  int64_t length() const { return prefix + rows * columns; }
};

/// Offsets of sequences that stand behind each other, (S + 1) each: see attend_packed().
struct PackedOffsets {
  at::Tensor queries, keys;
};

/// What a call of attention says beside its operands, whatever the mechanism. Members of AttendOptions' names
/// mean what they mean there; masks join with the mechanism's own, biases are added to its scores.
struct AttentionCall {
  CausalAlignment causal = CausalAlignment::none;
  std::optional<at::Tensor> mask, key_lengths;
  std::optional<AttendSegments> segments;
  std::optional<AttendBlocks> blocks;
  std::optional<at::Tensor> bias, alibi_slopes, relative_table, relative_keys;
  std::optional<AttendGrid> relative_grid;
  /// With them q, k and v are (total, H, D).
  std::optional<PackedOffsets> packed;
  double dropout_p = 0.0;
  std::optional<uint64_t> seed;
  /// Also return the weights, (B, H, N, M), after dropout.
  bool weights = false;
  /// Also return what it names of the weights, without a matrix of them.
  AttendObservation observe;
};

/// Operands of a call. Only q, k and v are always there.
struct AttentionInput {
  /// (B, H, N, D), (B, Hkv, M, D), (B, Hkv, M, Dv)
  at::Tensor q, k, v;
  /// The rows that q, and those that k and v were projected from: (B, N, E), (B, M, Ek). In self-attention
  /// `context` is undefined.
  at::Tensor x, context;
  /// Keys come from another sequence than queries.
  bool cross = false;
  std::optional<GridPositions> grid;
  AttentionCall call;
};

/// What was not asked for is undefined.
struct AttentionOutput {
  /// (B, H, N, Dv); (total, H, Dv) of packed sequences.
  at::Tensor out;
  at::Tensor weights;
  AttendObserved observed;
};

/// What fits a mechanism and what does not.
struct AttentionTraits {
  /// Equal to softmax attention up to rounding, where its options hide nothing.
  bool exact = false;
  /// Can hide what comes after a query.
  bool causal_ok = true;
  /// Queries and keys may come from two sequences, of two lengths.
  bool supports_cross = true;
  /// Wants positions in a grid.
  bool needs_2d = false;
  /// Wants the rows that q, k and v were projected from.
  bool needs_x = false;
  /// Takes masks, lengths, segments, blocks; biases.
  bool takes_masks = true, takes_biases = true;
  /// Takes lengths, and masks (B|1, H|1, 1, M) that hide a key from all queries, where it takes no others.
  bool takes_lengths = true, takes_key_masks = false;
  /// Its scores are scaled dot products with keys, to which relative ones can be added.
  bool takes_relative_keys = false;
  /// Has weights of pairs, to be shown, and to be dropped; tells what it observed of them without a matrix.
  bool gives_weights = true, drops_weights = true, observes = true;
  /// False where what it attends to does not depend on q and k.
  bool reads_queries_and_keys = true;
  /// Takes sequences behind each other.
  bool takes_packed = true;
};

/// Sizes that a mechanism is built for.
struct AttentionShape {
  int64_t heads = 1, kv_heads = 1;
  /// D and Dv.
  int64_t head_dim = 1, value_dim = 1;
  /// E of x; 0 where there are no rows before projection.
  int64_t width = 0;
  /// Where positions lie, if that is known beforehand.
  std::optional<GridPositions> grid = {};
};

inline constexpr int64_t kFloatBytes = 4;

/// Of one head of one batch entry.
struct AttentionCost {
  /// Of products. Exponentials, sums and norms count nothing.
  int64_t multiply_adds = 0;
  /// Beside operands and result, in float32, without a gradient.
  int64_t bytes = 0;
};

/// A mechanism's name, as users write it, and traits.
struct AttentionKind {
  std::string name;
  AttentionTraits traits;
};

/// An attention mechanism between projections: queries, keys, values in, their weighted sums out. Its
/// parameters are those of the mechanism alone; hosts such as SelfAttention hold the projections.
class Attention : public torch::nn::Module {
 public:
  /// Throws fovea::Error (usage) if a size is below 1, the heads of keys do not divide those of queries, or
  /// the mechanism needs x and shape.width is 0.
  Attention(AttentionKind kind, const AttentionShape& shape);

  /// Throws fovea::Error (usage), before any work, where the call does not fit the traits or the shape, and
  /// as the operators under it do. A query that may see no key gives 0; what it may not see has no influence.
  AttentionOutput forward(const AttentionInput& input);

  /// n queries, m keys, head size d (values too).
  virtual AttentionCost cost(int64_t n, int64_t m, int64_t d) const = 0;

  /// Its own causal order, which every call is in.
  virtual CausalAlignment causal() const { return CausalAlignment::none; }
  /// Positions in a block of AttentionCall::blocks, where the mechanism wants such a mask of every call.
  virtual std::optional<int64_t> block() const { return std::nullopt; }
  /// Its parameters have a value that means something before any training.
  virtual bool runs_untrained() const { return parameters().empty(); }
  /// The exact mechanism over n positions that it approximates, as parse_attention() reads it.
  virtual std::string exact_form(int64_t n) const;

  /// Throws fovea::Error (usage) where weights are to be dropped that it does not form.
  void check_dropout(double probability) const;

  const std::string& mechanism() const { return kind_.name; }
  const AttentionTraits& traits() const { return kind_.traits; }
  const AttentionShape& shape() const { return shape_; }

 protected:
  /// The mechanism. `input` fits.
  virtual AttentionOutput run(const AttentionInput& input) = 0;

  /// Throws fovea::Error (usage) where the call does not fit the traits or the shape.
  void check(const AttentionInput& input) const;
  /// The call's causal order and the mechanism's own as one. Throws fovea::Error (usage) where they are
  /// aligned otherwise.
  CausalAlignment joined_causal(CausalAlignment own, CausalAlignment asked) const;

  /// Throws fovea::Error (usage) in the mechanism's name.
  [[noreturn]] void refuse(const std::string& rule, const std::string& found,
                           const std::string& remedy) const;

 private:
  void check_operands(const AttentionInput& input) const;
  void check_places(const AttentionInput& input) const;
  void check_call(const AttentionCall& call) const;

  AttentionKind kind_;
  AttentionShape shape_;
};

/// Whether it names anything.
/// As the option `causal` is written.
std::string text_of(CausalAlignment causal);

bool asks_anything(const AttendObservation& observation);

/// As the option `causal` is written.
std::string text_of(CausalAlignment causal);

}  // namespace fovea::nn
