// What the reader and the writer of the safetensors format share; not for users.
#pragma once
#include <optional>
#include <string_view>
#include <vector>

#include "fovea/io/safetensors.h"

namespace fovea::io {

inline constexpr std::string_view kMetadataKey = "__metadata__";
inline constexpr size_t kMaxHeaderBytes = 100'000'000, kMaxTensors = 100'000, kMaxMetadata = 100'000,
                        kMaxDimensions = 64;

std::optional<Dtype> dtype_from_name(std::string_view name);

/// Bits that `shape` (no negative size) needs; nothing if that, or what its non-zero sizes alone would need,
/// exceeds 2^63 - 1. The zeros are left out because libtorch multiplies the other sizes for its strides even
/// if one is zero.
std::optional<int64_t> bits_of(Dtype dtype, const std::vector<int64_t>& shape);

}  // namespace fovea::io
