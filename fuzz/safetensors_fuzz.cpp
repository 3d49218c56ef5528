#include <algorithm>

#include "fovea/io/file.h"
#include "fovea/io/safetensors.h"
#include "fuzz/require.h"

namespace fovea {
namespace {

using fuzz::require;
using io::SafetensorsFile;
using io::TensorInfo;

// Reading, laying out and reading again must give the same tensors.
void round_trip(const SafetensorsFile& file) {
  std::vector<TensorInfo> tensors = file.tensors();
  const std::string header = io::lay_out_safetensors(tensors, file.metadata());
  const uint64_t data_size = tensors.empty() ? 0 : tensors.back().end;
  const std::string_view json = std::string_view(header).substr(8);
  const io::SafetensorsHeader back = io::parse_safetensors_header(json, data_size, "fuzz");
  require(back.metadata == file.metadata(), "metadata survives");
  require(back.tensors.size() == file.tensors().size(), "no tensor is lost");
  for (size_t i = 0; i < back.tensors.size(); ++i) {
    const TensorInfo &a = back.tensors[i], &b = file.tensors()[i];
    require(
        a.name == b.name && a.dtype == b.dtype && a.shape == b.shape && a.end - a.begin == b.end - b.begin,
        "tensors survive");
  }
}

void read_file(std::span<const std::byte> input) {
  const SafetensorsFile file = SafetensorsFile::parse(input, "fuzz");
  size_t covered = 0;
  for (const TensorInfo& info : file.tensors()) {
    const std::span<const std::byte> bytes = file.bytes(info.name);
    const bool inside =
        bytes.data() >= input.data() + 8 && bytes.data() + bytes.size() <= input.data() + input.size();
    require(inside, "data lie inside the file");
    covered += bytes.size();
  }
  require(covered + 8 <= input.size(), "tensors do not overlap");
  round_trip(file);
}

}  // namespace
}  // namespace fovea

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fovea;
  // Most mutations break the length in front. So what begins with { is a header by itself, for some bytes of
  // data.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    if (text.starts_with('{')) {
      io::parse_safetensors_header(text, size % 16, "fuzz");
    } else {
      read_file(std::as_bytes(std::span(data, size)));
    }
  } catch (const io::SafetensorsError&) {
  }
  return 0;
}
