#include "fovea/core/error.h"
#include "fovea/io/gzip.h"
#include "fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fovea;
  constexpr uint64_t kLimit = 1 << 18;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  try {
    const std::string content = io::unpack_maybe_gzip(input, "fuzz", kLimit);
    fuzz::require(content.size() <= kLimit, "the limit holds");
  } catch (const Error& error) {
    fuzz::require(error.kind() == ErrorKind::data, "bad files are bad data");
  }
  return 0;
}
