#pragma once
#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <cstdint>
#include <optional>
#include <string>

#include "fovea/nn/attention/attention.h"

namespace fovea::nn {

/// Where a scheme acts: nowhere, on rows before layers, or in each attention on queries and keys, on the
/// scores of pairs, or on scores and values.
enum class PositionPlace { nowhere, embeddings, queries_and_keys, scores, scores_and_values };

/// "queries and keys"
std::string in_words(PositionPlace place);

/// What fits a scheme and what does not.
struct PositionTraits {
  PositionPlace place = PositionPlace::nowhere;
  /// Wants positions in a grid.
  bool needs_2d = false;
  /// Adds relative keys to scaled dot products.
  bool relative_keys = false;
  /// Each layer has parameters of its own; otherwise a network has one scheme for all its layers.
  bool per_layer = false;
  /// On rows it acts after so many layers.
  int64_t after_layers = 0;
};

/// Sizes that a scheme is built for. `width` is that of rows.
struct PositionShape : AttentionShape {
  std::optional<GridPositions> grid = {};
};

/// A scheme's name, as users write it, and traits.
struct PositionKind {
  std::string name;
  PositionTraits traits;
};

/// A position scheme: how a network that sees its rows as a set is told their order. Position t is row t,
/// from 0, the prefix of a grid included. A network calls after() on its rows and, in the place of
/// Attention::forward(), attend() in each layer; each does what it does at its place and nothing elsewhere.
class Position : public torch::nn::Module {
 public:
  /// Throws fovea::Error (usage) if a size is below 1 (the width: of a scheme that acts on rows), or the
  /// scheme wants a grid and there is none.
  Position(PositionKind kind, const PositionShape& shape);

  /// Rows (B, T, width) after `layers` layers of a network, with their positions where the scheme acts there.
  /// Throws fovea::Error (usage) on rows of another width or, of a grid, another number.
  at::Tensor after(int64_t layers, const at::Tensor& x);

  /// attention.forward(input) with positions. Throws fovea::Error (usage) where the scheme acts on queries
  /// and keys or scores, and these are of two sequences, behind each other, or do not fit the shape; and as
  /// Attention::forward().
  AttentionOutput attend(Attention& attention, AttentionInput input);

  /// It acts in each attention, not on rows.
  bool acts_in_layers() const;

  const std::string& scheme() const { return kind_.name; }
  const PositionTraits& traits() const { return kind_.traits; }
  const PositionShape& shape() const { return shape_; }

 protected:
  /// Rows that fit, with positions.
  virtual at::Tensor embed(const at::Tensor& x) { return x; }
  /// What attention is given in the place of `input`, which fits.
  virtual void place(AttentionInput&) const {}
  /// attention.forward() of what place() makes.
  virtual AttentionOutput run(Attention& attention, AttentionInput input);

  /// The grid of a scheme that needs_2d.
  const GridPositions& grid() const { return *shape_.grid; }
  /// Throws fovea::Error (usage) in the scheme's name.
  [[noreturn]] void refuse(const std::string& rule, const std::string& found,
                           const std::string& remedy) const;

 private:
  void check_operands(const AttentionInput& input) const;

  PositionKind kind_;
  PositionShape shape_;
};

}  // namespace fovea::nn
