#include "fovea/io/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "fovea/core/nearest.h"
#include "fovea/io/file.h"
#include "fovea/io/safetensors_format.h"
#include "fovea/io/utf8.h"

namespace fovea::io {
namespace {

using Fault = SafetensorsFault;

constexpr uint64_t kLengthBytes = 8;

constexpr std::array<std::string_view, 33> kFaultNames = {
    "file_too_small",
    "header_too_large",
    "header_beyond_file",
    "header_not_utf8",
    "header_not_object",
    "header_not_json",
    "duplicate_name",
    "duplicate_field",
    "unknown_field",
    "missing_field",
    "wrong_field_type",
    "unknown_dtype",
    "bad_shape",
    "too_many_dimensions",
    "shape_overflow",
    "partial_byte",
    "bad_offsets",
    "reversed_offsets",
    "bad_metadata",
    "too_many_tensors",
    "too_many_metadata",
    "out_of_range",
    "size_mismatch",
    "overlap",
    "hole",
    "trailing_bytes",
    "unknown_tensor",
    "unsupported_dtype",
    "bad_index",
    "shard_outside",
    "missing_shard",
    "missing_tensor",
    "no_model_here",
};

}  // namespace

std::string_view fault_name(SafetensorsFault fault) { return kFaultNames[static_cast<size_t>(fault)]; }

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  auto mapping = std::make_shared<const MappedFile>(path, ErrorKind::model_file);
  SafetensorsFile file = parse(mapping->bytes(), path.string());
  file.file_ = std::move(mapping);
  return file;
}

SafetensorsFile SafetensorsFile::parse(std::span<const std::byte> bytes, std::string_view where) {
  const auto require = [&](bool holds, Fault fault, std::string_view rule, std::string found) {
    if (holds) return;
    throw SafetensorsError(
        fault, where,
        fmt::format("{}; found {}. This is no safetensors file, or only a part of one; get it anew.", rule,
                    found));
  };
  require(bytes.size() >= kLengthBytes, Fault::file_too_small, "a model file has at least 8 bytes",
          std::to_string(bytes.size()));
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) length |= std::to_integer<uint64_t>(bytes[i]) << (8 * i);
  require(length <= kMaxHeaderBytes, Fault::header_too_large,
          fmt::format("the header may have {} bytes", kMaxHeaderBytes), std::to_string(length));
  require(length <= bytes.size() - kLengthBytes, Fault::header_beyond_file,
          "the header must end inside the file",
          fmt::format("{} bytes of header, {} of file", length, bytes.size()));
  SafetensorsFile file;
  file.where_ = where;
  file.data_ = bytes.subspan(kLengthBytes + length);
  const std::string_view json(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, length);
  file.header_ = parse_safetensors_header(json, file.data_.size(), where);
  return file;
}

const TensorInfo* SafetensorsFile::find(std::string_view name) const {
  const auto& all = header_.tensors;
  const auto place =
      std::lower_bound(all.begin(), all.end(), name,
                       [](const TensorInfo& info, std::string_view key) { return info.name < key; });
  return place != all.end() && place->name == name ? &*place : nullptr;
}

const TensorInfo& SafetensorsFile::info(std::string_view name) const {
  if (const TensorInfo* found = find(name)) return *found;
  std::vector<std::string> names;
  for (const TensorInfo& info : header_.tensors) names.push_back(info.name);
  throw SafetensorsError(
      Fault::unknown_tensor, where_,
      fmt::format("the tensor must be one of the file's {}; found {}. {}", names.size(), quote_text(name),
                  suggest_name(name, names, "List the file's tensors.")));
}

std::span<const std::byte> SafetensorsFile::bytes(std::string_view name) const {
  const TensorInfo& found = info(name);
  if (file_) file_->require_unchanged();
  return data_.subspan(found.begin, found.end - found.begin);
}

}  // namespace fovea::io
