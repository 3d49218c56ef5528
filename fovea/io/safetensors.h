#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/core/error.h"

namespace fovea::io {

class MappedFile;

/// The element types of the format, in its order of writing (the last first).
/// Source: safetensors 0.8. F8_E4M3 is torch's float8_e4m3fn, F8_E8M0 its float8_e8m0fnu.
enum class Dtype {
  BOOL,
  F4,
  F6_E2M3,
  F6_E3M2,
  U8,
  I8,
  F8_E5M2,
  F8_E4M3,
  F8_E8M0,
  F8_E4M3FNUZ,
  F8_E5M2FNUZ,
  I16,
  U16,
  F16,
  BF16,
  I32,
  U32,
  F32,
  C64,
  F64,
  I64,
  U64,
};

/// The name in the file: `BF16`.
std::string_view dtype_name(Dtype dtype);

/// Bits of one element: 4, 6, 8, 16, 32 or 64.
int64_t dtype_bits(Dtype dtype);

/// What is wrong with a model file, one for each way to break the format.
enum class SafetensorsFault {
  // The frame
  file_too_small,      ///< fewer than the 8 bytes of the header's length
  header_too_large,    ///< more than 100,000,000 bytes
  header_beyond_file,  ///< ends after the file
  header_not_utf8,
  header_not_object,  ///< does not begin with {
  header_not_json,    ///< also: anything but white space after the closing }
  // What the header says
  duplicate_name,
  duplicate_field,
  unknown_field,
  missing_field,
  wrong_field_type,  ///< an entry that is no object, a dtype that is no string
  unknown_dtype,
  bad_shape,            ///< not a list of whole numbers >= 0 in plain decimal notation
  too_many_dimensions,  ///< more than 64, libtorch's limit
  shape_overflow,       ///< the product of the non-zero sizes, in bits, exceeds 2^63 - 1
  partial_byte,         ///< a 4 or 6-bit type that does not end at a whole byte
  bad_offsets,          ///< not two whole numbers >= 0 in plain decimal notation
  reversed_offsets,     ///< begin > end
  bad_metadata,         ///< not an object of strings, or one key twice
  too_many_tensors,     ///< more than 100,000
  too_many_metadata,    ///< more than 100,000 entries
  // How header and data fit
  out_of_range,   ///< data beyond the end of the file: as a rule the file was cut
  size_mismatch,  ///< end - begin differs from what dtype and shape need
  overlap,
  hole,
  trailing_bytes,
  // Asking for what is not there
  unknown_tensor,
  unsupported_dtype,  ///< of the format, but libtorch has none
  // Sharded models
  bad_index,
  shard_outside,  ///< a shard's name that is no plain file name
  missing_shard,
  missing_tensor,  ///< the index promises a tensor that its shard lacks
  no_model_here,   ///< a folder without a model, or with several
};

/// The fault's name, `duplicate_name`.
std::string_view fault_name(SafetensorsFault fault);

/// A model_file error that also says which rule was broken.
class SafetensorsError : public Error {
 public:
  SafetensorsError(SafetensorsFault fault, std::string_view where, std::string_view message)
      : Error(ErrorKind::model_file, where, message), fault_(fault) {}

  SafetensorsFault fault() const { return fault_; }

 private:
  SafetensorsFault fault_;
};

/// One tensor of a file. `begin` and `end` count bytes from the end of the header.
struct TensorInfo {
  std::string name;
  Dtype dtype = Dtype::F32;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;
};

/// What a header says.
struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  ///< sorted by name
  std::map<std::string, std::string> metadata;
};

/// A safetensors file: 8 bytes little-endian length of the header, the header (JSON), the data.
///
/// Opening checks the whole header, so that bytes() cannot fail afterwards; the data is not touched. Every
/// breach of the format throws SafetensorsError. Accepts what the format's Rust reader 0.8 accepts, except,
/// stricter: a name or metadata key twice; unknown fields; a header that begins with white space; entries
/// written as lists;
/// `"__metadata__": null`; sizes above 2^63 - 1 or whose non-zero product overflows; over 64 dimensions; over
/// 100,000 tensors or metadata entries. Memory: at most 4 times the file's size and 64 MB, for any content.
class SafetensorsFile {
 public:
  /// Maps the file `path` (a model_file error if that fails).
  static SafetensorsFile open(const std::filesystem::path& path);

  /// Reads `bytes`, which must outlive the result; `where` names them in messages.
  static SafetensorsFile parse(std::span<const std::byte> bytes, std::string_view where);

  /// Sorted by name.
  const std::vector<TensorInfo>& tensors() const { return header_.tensors; }

  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }

  /// nullptr if there is none of this name.
  const TensorInfo* find(std::string_view name) const;

  /// The one called `name`; SafetensorsError (unknown_tensor, with the nearest name) if there is none.
  const TensorInfo& info(std::string_view name) const;

  /// Its little-endian, row-major data, inside the mapping: valid while this object lives and the file is not
  /// shortened (SIGBUS; this call notices what happened before it and throws).
  std::span<const std::byte> bytes(std::string_view name) const;

 private:
  std::string where_;
  std::shared_ptr<const MappedFile> file_;
  std::span<const std::byte> data_;
  SafetensorsHeader header_;
};

/// Reads and checks a header (without its 8 bytes of length) for `data_size` bytes of data.
SafetensorsHeader parse_safetensors_header(std::string_view json, uint64_t data_size, std::string_view where);

/// Lays out tensors in the format's order, descending dtype, then name: sets `begin` and `end`, sorts
/// `tensors`, and returns the file's first bytes: length and header, padded with spaces to a multiple of 8.
/// Throws usage_error for a name twice, `__metadata__`, text that is not UTF-8, and shapes that parse() would
/// refuse.
std::string lay_out_safetensors(std::vector<TensorInfo>& tensors,
                                const std::map<std::string, std::string>& metadata);

}  // namespace fovea::io
