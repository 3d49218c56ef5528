#include "fovea/io/tensors.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "fovea/core/nearest.h"
#include "fovea/io/file.h"
#include "fovea/io/safetensors.h"
#include "fovea/io/shard_index.h"
#include "fovea/io/utf8.h"

namespace fovea::io {
namespace {

using Fault = SafetensorsFault;

struct TypePair {
  Dtype stored;
  at::ScalarType type;
};

// F6 has no counterpart in libtorch.
constexpr std::array<TypePair, 20> kTypes = {{
    {Dtype::BOOL, at::kBool},
    {Dtype::F4, at::ScalarType::Float4_e2m1fn_x2},
    {Dtype::U8, at::kByte},
    {Dtype::I8, at::kChar},
    {Dtype::F8_E5M2, at::kFloat8_e5m2},
    {Dtype::F8_E4M3, at::kFloat8_e4m3fn},
    {Dtype::F8_E8M0, at::kFloat8_e8m0fnu},
    {Dtype::F8_E4M3FNUZ, at::kFloat8_e4m3fnuz},
    {Dtype::F8_E5M2FNUZ, at::kFloat8_e5m2fnuz},
    {Dtype::I16, at::kShort},
    {Dtype::U16, at::kUInt16},
    {Dtype::F16, at::kHalf},
    {Dtype::BF16, at::kBFloat16},
    {Dtype::I32, at::kInt},
    {Dtype::U32, at::kUInt32},
    {Dtype::F32, at::kFloat},
    {Dtype::C64, at::kComplexFloat},
    {Dtype::F64, at::kDouble},
    {Dtype::I64, at::kLong},
    {Dtype::U64, at::kUInt64},
}};

std::optional<at::ScalarType> type_of(Dtype stored) {
  for (const TypePair& pair : kTypes) {
    if (pair.stored == stored) return pair.type;
  }
  return std::nullopt;
}

std::optional<Dtype> stored_type(at::ScalarType type) {
  for (const TypePair& pair : kTypes) {
    if (pair.type == type) return pair.stored;
  }
  return std::nullopt;
}

at::Tensor load_from(const SafetensorsFile& file, const std::string& name, std::string_view where) {
  const TensorInfo& info = file.info(name);
  const auto type = type_of(info.dtype);
  std::vector<int64_t> shape = info.shape;
  bool fits = type.has_value();
  if (info.dtype == Dtype::F4) {
    // libtorch packs two values into an element along the last axis.
    fits = !shape.empty() && shape.back() % 2 == 0;
    if (fits) shape.back() /= 2;
  }
  if (!fits) {
    throw SafetensorsError(
        Fault::unsupported_dtype, where,
        fmt::format("tensor {} must have a type that libtorch has; found {} of shape ({}). Convert "
                    "it to BF16 or F32.",
                    quote_text(name), dtype_name(info.dtype), fmt::join(info.shape, ", ")));
  }
  const std::span<const std::byte> bytes = file.bytes(name);
  at::Tensor tensor = at::empty(shape, *type);
  if (!bytes.empty()) std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

void require_savable(const std::string& name, const at::Tensor& tensor) {
  const auto require = [&](bool holds, std::string_view rule, std::string_view found,
                           std::string_view remedy) {
    if (holds) return;
    throw usage_error("save_tensors", fmt::format("tensor {} {}", quote_text(name), rule), found, remedy);
  };
  require(tensor.defined(), "must be defined", "an undefined one", "Leave it out.");
  require(tensor.layout() == at::kStrided, "must be dense", "a sparse layout", "Call to_dense() first.");
  require(!tensor.is_meta(), "must have values", "a meta tensor", "Materialise it first.");
  require(stored_type(tensor.scalar_type()).has_value(), "must have a type of the format",
          c10::toString(tensor.scalar_type()), "Convert it first.");
  require(tensor.dim() > 0 || tensor.scalar_type() != at::ScalarType::Float4_e2m1fn_x2, "must have an axis",
          "a scalar of packed pairs", "Reshape it to (1).");
}

at::Tensor to_plain_values(const at::Tensor& tensor) {
  return tensor.detach().cpu().resolve_conj().resolve_neg().contiguous();
}

TensorInfo describe_for_header(const std::string& name, const at::Tensor& tensor) {
  TensorInfo info{.name = name, .dtype = *stored_type(tensor.scalar_type()), .shape = tensor.sizes().vec()};
  if (info.dtype == Dtype::F4) info.shape.back() *= 2;
  return info;
}

}  // namespace

struct TensorFile::State {
  std::string where;
  std::map<std::string, SafetensorsFile> files;             // by file name
  std::map<std::string, const SafetensorsFile*> of_tensor;  // into `files`
  std::map<std::string, std::string> metadata;

  void open_file(const std::filesystem::path& path) {
    const SafetensorsFile& file =
        files.emplace(path.filename().string(), SafetensorsFile::open(path)).first->second;
    for (const TensorInfo& info : file.tensors()) of_tensor.emplace(info.name, &file);
    metadata = file.metadata();
  }

  void open_index(const std::filesystem::path& path) {
    for (const auto& [tensor, shard] : read_shard_index(path)) {
      auto place = files.find(shard);
      if (place == files.end()) place = open_shard(path, shard);
      if (!place->second.find(tensor)) {
        throw SafetensorsError(
            Fault::missing_tensor, path.string(),
            fmt::format("shard {} must hold tensor {}; found no such tensor in it. Get the index and "
                        "its shards anew, from one place.",
                        quote_text(shard), quote_text(tensor)));
      }
      of_tensor.emplace(tensor, &place->second);
    }
    for (const auto& [name, file] : files) metadata.insert(file.metadata().begin(), file.metadata().end());
  }

  std::map<std::string, SafetensorsFile>::iterator open_shard(const std::filesystem::path& index,
                                                              const std::string& shard) {
    const std::filesystem::path path = index.parent_path() / shard;
    std::error_code error;
    if (!std::filesystem::exists(path, error)) {
      throw SafetensorsError(
          Fault::missing_shard, index.string(),
          fmt::format("every shard must lie beside the index; found no {}. Get the missing file.",
                      quote_text(shard)));
    }
    return files.emplace(shard, SafetensorsFile::open(path)).first;
  }

  const SafetensorsFile& file_of(const std::string& name) const {
    const auto place = of_tensor.find(name);
    if (place != of_tensor.end()) return *place->second;
    std::vector<std::string> names;
    for (const auto& [known, file] : of_tensor) names.push_back(known);
    throw SafetensorsError(
        Fault::unknown_tensor, where,
        fmt::format("the tensor must be one of the model's {}; found {}. {}", names.size(), quote_text(name),
                    suggest_name(name, names, "List the file's tensors.")));
  }
};

TensorFile::TensorFile(const std::filesystem::path& path) {
  const std::filesystem::path file = find_model_file(path);
  auto state = std::make_shared<State>();
  state->where = file.string();
  is_shard_index(file) ? state->open_index(file) : state->open_file(file);
  state_ = std::move(state);
}

std::vector<std::string> TensorFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, file] : state_->of_tensor) names.push_back(name);
  return names;
}

bool TensorFile::contains(const std::string& name) const { return state_->of_tensor.contains(name); }

at::Tensor TensorFile::load(const std::string& name) const {
  return load_from(state_->file_of(name), name, state_->where);
}

std::vector<int64_t> TensorFile::shape(const std::string& name) const {
  return state_->file_of(name).info(name).shape;
}

const std::map<std::string, std::string>& TensorFile::metadata() const { return state_->metadata; }

TensorMap load_tensors(const std::filesystem::path& path) {
  const TensorFile file(path);
  TensorMap tensors;
  for (const std::string& name : file.names()) tensors.emplace(name, file.load(name));
  return tensors;
}

void save_tensors(const std::filesystem::path& path, const TensorMap& tensors,
                  const std::map<std::string, std::string>& metadata) {
  std::vector<TensorInfo> infos;
  for (const auto& [name, tensor] : tensors) {
    // Checked before the file is begun; copied only when its turn to be written comes, one at a time.
    require_savable(name, tensor);
    infos.push_back(describe_for_header(name, tensor));
  }
  const std::string header = lay_out_safetensors(infos, metadata);
  AtomicFile file(path);
  file.write(header);
  for (const TensorInfo& info : infos) {
    const at::Tensor values = to_plain_values(tensors.at(info.name));
    file.write(std::span(static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()));
  }
  file.commit();
}

}  // namespace fovea::io
