// The header of a safetensors file: JSON text to TensorInfo, and every check that the format asks for.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <utility>

#include "fovea/io/json_cursor.h"
#include "fovea/io/safetensors_format.h"
#include "fovea/io/utf8.h"

namespace fovea::io {
namespace {

using Fault = SafetensorsFault;

constexpr std::string_view kDamaged = "The file is damaged or was written by a faulty program; get it anew.";

class HeaderReader {
 public:
  HeaderReader(std::string_view json, std::string_view where) : cursor_(json), where_(where) {}

  SafetensorsHeader read() {
    cursor_.expect('{');
    if (!cursor_.take('}')) {
      do {
        entry();
      } while (cursor_.take(','));
      cursor_.expect('}');
    }
    if (!cursor_.at_end())
      fail(Fault::header_not_json, "the header must end after its last }", cursor_.excerpt());
    return std::move(header_);
  }

 private:
  [[noreturn]] void fail(Fault fault, std::string_view rule, std::string_view found) const {
    throw SafetensorsError(fault, where_, fmt::format("{}; found {}. {}", rule, found, kDamaged));
  }

  void entry() {
    std::string name = cursor_.string();
    cursor_.expect(':');
    if (name == kMetadataKey) {
      if (std::exchange(has_metadata_, true))
        fail(Fault::duplicate_name, "names must differ", quote_text(name));
      return metadata();
    }
    if (header_.tensors.size() == kMaxTensors) {
      fail(Fault::too_many_tensors, fmt::format("a file may hold {} tensors", kMaxTensors), "more");
    }
    tensor(std::move(name));
  }

  void metadata() {
    const auto require_string = [&] {
      if (cursor_.peek() != '"')
        fail(Fault::bad_metadata, "__metadata__ must map texts to texts", cursor_.excerpt());
    };
    if (!cursor_.take('{')) fail(Fault::bad_metadata, "__metadata__ must be an object", cursor_.excerpt());
    if (cursor_.take('}')) return;
    do {
      if (header_.metadata.size() == kMaxMetadata) {
        fail(Fault::too_many_metadata, fmt::format("__metadata__ may have {} entries", kMaxMetadata), "more");
      }
      require_string();
      std::string key = cursor_.string();
      cursor_.expect(':');
      require_string();
      const auto [place, is_new] = header_.metadata.try_emplace(std::move(key), cursor_.string());
      if (!is_new)
        fail(Fault::bad_metadata, "keys of __metadata__ must differ", quote_text(place->first) + " twice");
    } while (cursor_.take(','));
    cursor_.expect('}');
  }

  void tensor(std::string name) {
    TensorInfo info{.name = std::move(name), .dtype = {}, .shape = {}};
    constexpr std::array<std::string_view, 3> kFields = {"dtype", "shape", "data_offsets"};
    std::array<bool, 3> seen{};
    if (!cursor_.take('{'))
      fail(Fault::wrong_field_type, about(info, "must be an object"), cursor_.excerpt());
    if (!cursor_.take('}')) {
      do {
        const std::string field = cursor_.string();
        const auto which =
            static_cast<size_t>(std::find(kFields.begin(), kFields.end(), field) - kFields.begin());
        if (which == kFields.size()) {
          fail(Fault::unknown_field, about(info, "may have only dtype, shape and data_offsets"),
               quote_text(field));
        }
        if (std::exchange(seen[which], true)) {
          fail(Fault::duplicate_field, about(info, "must have each field once"),
               quote_text(field) + " twice");
        }
        cursor_.expect(':');
        which == 0 ? dtype(info) : which == 1 ? shape(info) : offsets(info);
      } while (cursor_.take(','));
      cursor_.expect('}');
    }
    for (size_t i = 0; i < seen.size(); ++i) {
      if (!seen[i]) {
        fail(Fault::missing_field, about(info, "must have dtype, shape and data_offsets"),
             "no " + std::string(kFields[i]));
      }
    }
    header_.tensors.push_back(std::move(info));
  }

  void dtype(TensorInfo& info) {
    if (cursor_.peek() != '"')
      fail(Fault::wrong_field_type, about(info, "has a dtype, a text"), cursor_.excerpt());
    const std::string name = cursor_.string();
    const auto dtype = dtype_from_name(name);
    if (!dtype) fail(Fault::unknown_dtype, about(info, "must have a dtype of the format"), quote_text(name));
    info.dtype = *dtype;
  }

  void shape(TensorInfo& info) {
    constexpr std::string_view kRule = "has a shape, a list of whole numbers";
    if (!cursor_.take('[')) fail(Fault::bad_shape, about(info, kRule), cursor_.excerpt());
    if (cursor_.take(']')) return;
    do {
      if (info.shape.size() == kMaxDimensions) {
        fail(Fault::too_many_dimensions, about(info, fmt::format("may have {} dimensions", kMaxDimensions)),
             "more");
      }
      const auto size = cursor_.whole_number();
      if (!size) fail(Fault::bad_shape, about(info, kRule), cursor_.excerpt());
      if (*size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        fail(Fault::shape_overflow, about(info, "must have sizes below 2^63"), std::to_string(*size));
      }
      info.shape.push_back(static_cast<int64_t>(*size));
    } while (cursor_.take(','));
    if (!cursor_.take(']')) fail(Fault::bad_shape, about(info, kRule), cursor_.excerpt());
  }

  void offsets(TensorInfo& info) {
    const auto require = [&](bool holds) {
      if (!holds)
        fail(Fault::bad_offsets, about(info, "has two whole numbers as data_offsets"), cursor_.excerpt());
    };
    const auto number = [&] {
      const auto value = cursor_.whole_number();
      require(value.has_value());
      return *value;
    };
    require(cursor_.take('['));
    info.begin = number();
    require(cursor_.take(','));
    info.end = number();
    require(cursor_.take(']'));
  }

  static std::string about(const TensorInfo& info, std::string_view rule) {
    return fmt::format("tensor {} {}", quote_text(info.name), rule);
  }

  JsonCursor cursor_;
  std::string_view where_;
  SafetensorsHeader header_;
  bool has_metadata_ = false;
};

[[noreturn]] void fail_tensor(Fault fault, std::string_view where, const TensorInfo& info,
                              std::string_view rule) {
  const std::string_view remedy =
      fault == Fault::out_of_range ? "The file seems to be cut short; get it anew." : kDamaged;
  throw SafetensorsError(
      fault, where,
      fmt::format("tensor {} {}; found {} of sizes ({}) in bytes [{}, {}]. {}", quote_text(info.name), rule,
                  dtype_name(info.dtype), fmt::join(info.shape, ", "), info.begin, info.end, remedy));
}

void require_consistent(const TensorInfo& info, uint64_t data_size, std::string_view where) {
  const auto fail = [&](Fault fault, std::string_view rule) { fail_tensor(fault, where, info, rule); };
  if (info.begin > info.end) fail(Fault::reversed_offsets, "must begin before it ends");
  const auto bits = bits_of(info.dtype, info.shape);
  if (!bits) fail(Fault::shape_overflow, "must have fewer than 2^63 bits");
  if (*bits % 8 != 0) fail(Fault::partial_byte, "must fill whole bytes");
  if (info.end > data_size)
    fail(Fault::out_of_range, fmt::format("must lie inside the {} bytes of data", data_size));
  if (info.end - info.begin != static_cast<uint64_t>(*bits) / 8) {
    fail(Fault::size_mismatch, fmt::format("needs {} bytes", *bits / 8));
  }
}

// The tensors must cover the data without gap or overlap, so that there is no room for what nobody looks at.
void require_cover(const std::vector<TensorInfo>& tensors, uint64_t data_size, std::string_view where) {
  std::vector<const TensorInfo*> order;
  for (const TensorInfo& info : tensors) order.push_back(&info);
  std::sort(order.begin(), order.end(), [](const TensorInfo* a, const TensorInfo* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  });
  uint64_t end = 0;
  for (const TensorInfo* info : order) {
    if (info->begin < end)
      fail_tensor(Fault::overlap, where, *info, fmt::format("must begin at byte {}", end));
    if (info->begin > end) fail_tensor(Fault::hole, where, *info, fmt::format("must begin at byte {}", end));
    end = info->end;
  }
  if (end != data_size) {
    throw SafetensorsError(Fault::trailing_bytes, where,
                           fmt::format("the file must end with its last tensor; found {} more bytes. {}",
                                       data_size - end, kDamaged));
  }
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view json, uint64_t data_size,
                                           std::string_view where) {
  const auto fail = [&](Fault fault, std::string_view rule, std::string_view found) {
    throw SafetensorsError(fault, where, fmt::format("{}; found {}. {}", rule, found, kDamaged));
  };
  if (!json.starts_with('{'))
    fail(Fault::header_not_object, "the header must begin with {", quote_text(json, 24));
  if (!is_utf8(json)) fail(Fault::header_not_utf8, "the header must be UTF-8", quote_text(json, 24));
  SafetensorsHeader header;
  try {
    header = HeaderReader(json, where).read();
  } catch (const JsonSyntaxError& error) {
    fail(Fault::header_not_json, "the header must be JSON", error.what());
  }
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
  for (size_t i = 1; i < header.tensors.size(); ++i) {
    if (header.tensors[i - 1].name != header.tensors[i].name) continue;
    fail_tensor(Fault::duplicate_name, where, header.tensors[i], "must be there once");
  }
  for (const TensorInfo& info : header.tensors) require_consistent(info, data_size, where);
  require_cover(header.tensors, data_size, where);
  return header;
}

}  // namespace fovea::io
