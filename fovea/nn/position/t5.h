#pragma once
#include <torch/nn/modules/embedding.h>

#include "fovea/nn/position/entry.h"

namespace fovea::nn {

/// Which keys have buckets: those after a query too, only those up to it, or as the call's causal order says.
enum class T5Sides { of_call, both, one };

struct T5PositionOptions {
  int64_t num_buckets = 32, max_distance = 128;
  T5Sides bidirectional = T5Sides::of_call;

  template <class Visitor>
  static void fields(T5PositionOptions& o, Visitor&& visit) {
    visit(OptionText{"num_buckets", "numbers a head"}, o.num_buckets, WholeFrom{2});
    visit(OptionText{"max_distance", "farther positions share the last bucket"}, o.max_distance,
          WholeFrom{1});
    visit(OptionText{"bidirectional",
                     "buckets of their own for keys after a query; when left out, unless the call is causal"},
          o.bidirectional, Choice<T5Sides>{{"true", T5Sides::both}, {"false", T5Sides::one}});
  }
};

/// A learned number for each head and bucket of distances, one table for all layers.
///   s_ij + relative_attention_bias[bucket(j - i), h], buckets of t5_buckets()
/// Parameter `relative_attention_bias.weight` (num_buckets, H), HF's key, normal of deviation 1 /
/// sqrt(width). T5's scores are q . k without a scale: the mechanism `dot`.   In the fused kernel, O(H
/// max_distance) memory. Source: T5 (Raffel et al. 2020), 2.1.
class T5Position : public Position {
 public:
  T5Position(PositionKind kind, const PositionShape& shape, const T5PositionOptions& options);

  /// AttendOptions::relative_table of an encoder (both sides) or a decoder.
  at::Tensor relative_table(bool bidirectional) const;

  torch::nn::Embedding relative_attention_bias{nullptr};

 protected:
  void place(AttentionInput& input) const override;

 private:
  T5PositionOptions options_;
};

PositionEntry t5_position();

}  // namespace fovea::nn
