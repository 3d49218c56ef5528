#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace fovea::io {

/// Levels of nesting that a JSON text may have. Those who walk a value call themselves once a level, so that
/// a text of brackets would otherwise end the process.
inline constexpr int kJsonLevels = 64;

/// Bytes of the largest configuration or manifest that is read from a model's folder.
inline constexpr uint64_t kLargestJson = uint64_t{64} << 20;

/// Why `text` must not be given to the JSON reader: deeper than kJsonLevels, or a zero byte, which that
/// reader takes for the end. Empty when it may; whether it is JSON is not looked at.
std::string json_text_fault(std::string_view text);

/// A value as it stands in an error message: JSON of at most 80 bytes, `...` for the rest.
std::string show_json(const nlohmann::json& value);

}  // namespace fovea::io
