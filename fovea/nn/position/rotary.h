#pragma once
#include "fovea/nn/position/entry.h"
#include "fovea/nn/position/rotary_frequencies.h"

namespace fovea::nn {

/// Which two numbers of a head are turned together, of R pairs: i and i + R (half, as HF and GPT-NeoX), or 2i
/// and 2i + 1 (interleaved, as the paper, Meta's LLaMA files and GPT-J). One is the other with the numbers of
/// q and k in another order: weights of a layout fit that layout alone.
enum class RotaryLayout { half, interleaved };

struct RotaryOptions : RotaryFrequencyOptions {
  RotaryLayout layout = RotaryLayout::half;
  std::optional<int64_t> size;

  template <class Visitor>
  static void fields(RotaryOptions& o, Visitor&& visit) {
    visit(OptionText{"layout", "pairs i and i + size / 2, or 2i and 2i + 1"}, o.layout,
          Choice<RotaryLayout>{{"half", RotaryLayout::half}, {"interleaved", RotaryLayout::interleaved}});
    visit(OptionText{"size", "even: the first numbers of a head that are turned; all when left out",
                     "GPT-J (Wang and Komatsuzaki 2021)"},
          o.size, WholeFrom{2});
    RotaryFrequencyOptions::fields(o, visit);
  }
};

/// Queries and keys turned by angles that grow with their positions, so that scores rest on distances alone.
///   q_t' = amplitude R(t) q_t, k_t' = amplitude R(t) k_t; R(t) turns pair i by t angle_i
/// No parameters; amplitude is 1 but with YaRN. O(T size) time beside the copies of q and k. Angles are taken
/// in float64, and half types are turned in float32.   Source: RoFormer (Su et al. 2021), 3.2 and 3.4.2.
class RotaryPosition : public Position {
 public:
  /// Throws fovea::Error (usage) on a size that is odd, or beyond the head's.
  RotaryPosition(PositionKind kind, const PositionShape& shape, const RotaryOptions& options);

  /// x (B, H, T, D) turned; positions (T), of any type.
  at::Tensor turned(const at::Tensor& x, const at::Tensor& positions) const;

 protected:
  void place(AttentionInput& input) const override;

 private:
  RotaryLayout layout_;
  RotaryFrequencies frequencies_;
};

PositionEntry rotary_position();

}  // namespace fovea::nn
