#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "fovea/ops/attend.h"

namespace fovea::nn {

/// An attention mechanism with its options.
struct Mechanism {
  std::string name;
  /// As attend() takes them, but for what follows.
  AttendOptions options;
  bool alibi = false;
  std::optional<int32_t> dilation, global, stride;
  /// Positions in a block of a mask of blocks.
  std::optional<int64_t> block;

  /// Scores by additive_attend(), which has a parameter w.
  bool is_additive() const { return name == "additive"; }
};

/// What users write: NAME[:key=value,...] of mechanism_entries() and mechanism_options(), such as
/// "longformer:window=128,global=2". Throws fovea::Error (usage) on a name or key that there is not, naming
/// the nearest, on a key given twice, and on values that do not fit.
Mechanism parse_mechanism(const std::string& text);

/// Options of attend(), or additive_attend(), for so many heads.
AttendOptions attend_options(const Mechanism& mechanism, int64_t heads);

/// The slopes of ALiBi, (H) float32: 2^(-8 (h + 1) / H) for powers of two; otherwise those of the power
/// below, then every second one of the power above.   Source: Press et al. 2022, section 3 and their code.
at::Tensor alibi_slopes(int64_t heads);

}  // namespace fovea::nn
