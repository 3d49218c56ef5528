#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "fovea/io/json_cursor.h"
#include "fovea/io/safetensors_format.h"
#include "fovea/io/utf8.h"

namespace fovea::io {
namespace {

void require(bool holds, std::string_view rule, std::string_view found) {
  if (holds) return;
  throw usage_error("save_tensors", rule, quote_text(found), "Rename or reshape it.");
}

void require_writable(const TensorInfo& info) {
  require(is_utf8(info.name) && info.name != kMetadataKey, "a name must be UTF-8 and not __metadata__",
          info.name);
  const bool negative =
      std::any_of(info.shape.begin(), info.shape.end(), [](int64_t size) { return size < 0; });
  require(info.shape.size() <= kMaxDimensions && !negative, "a tensor must have at most 64 dimensions",
          info.name);
  const auto bits = bits_of(info.dtype, info.shape);
  require(bits && *bits % 8 == 0, "a tensor must fill whole bytes, fewer than 2^60", info.name);
}

void append_metadata(std::string& json, const std::map<std::string, std::string>& metadata) {
  append_json_string(json, kMetadataKey);
  json += ":{";
  for (const auto& [key, value] : metadata) {
    require(is_utf8(key) && is_utf8(value), "metadata must be UTF-8 text", key);
    if (json.back() != '{') json += ',';
    append_json_string(json, key);
    json += ':';
    append_json_string(json, value);
  }
  json += '}';
}

void append_tensor(std::string& json, const TensorInfo& info) {
  append_json_string(json, info.name);
  json += fmt::format(R"(:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", dtype_name(info.dtype),
                      fmt::join(info.shape, ","), info.begin, info.end);
}

}  // namespace

std::string lay_out_safetensors(std::vector<TensorInfo>& tensors,
                                const std::map<std::string, std::string>& metadata) {
  require(tensors.size() <= kMaxTensors, "a file may hold 100000 tensors", std::to_string(tensors.size()));
  require(metadata.size() <= kMaxMetadata, "metadata may have 100000 entries",
          std::to_string(metadata.size()));
  // Wide types first, so that with a header of a multiple of 8 bytes every tensor is aligned.
  std::sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return a.dtype != b.dtype ? a.dtype > b.dtype : a.name < b.name;
  });
  std::string json = "{";
  if (!metadata.empty()) append_metadata(json, metadata);
  std::set<std::string_view> names;
  uint64_t end = 0;
  for (TensorInfo& info : tensors) {
    require_writable(info);
    require(names.insert(info.name).second, "names must differ", info.name);
    info.begin = end;
    end += static_cast<uint64_t>(*bits_of(info.dtype, info.shape)) / 8;
    info.end = end;
    if (json.size() > 1) json += ',';
    append_tensor(json, info);
  }
  json += '}';
  json.append((8 - json.size() % 8) % 8, ' ');
  require(json.size() <= kMaxHeaderBytes, "the header may have 100000000 bytes", std::to_string(json.size()));
  const uint64_t length = json.size();
  std::string prefix(8, '\0');
  for (size_t i = 0; i < 8; ++i) prefix[i] = static_cast<char>(length >> (8 * i));
  return prefix + json;
}

}  // namespace fovea::io
