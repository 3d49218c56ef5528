#include "fovea/core/isa.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "fovea/core/error.h"

namespace fovea {
namespace {

TEST(Isa, NamesRoundTrip) {
  for (Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512, Isa::avx512_bf16, Isa::amx}) {
    EXPECT_EQ(isa_from_name(isa_name(isa)), isa);
  }
}

TEST(Isa, UnknownNameSuggestsTheNearest) {
  try {
    isa_from_name("avx51");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.exit_code(), 2);
    EXPECT_NE(std::string(e.what()).find("Did you mean 'avx512'?"), std::string::npos) << e.what();
  }
}

TEST(Isa, AgreesWithTheKernelsView) {
  std::ifstream file("/proc/cpuinfo");
  std::string line, flags;
  while (std::getline(file, line)) {
    if (line.starts_with("flags")) flags = line + " ";
  }
  ASSERT_FALSE(flags.empty());
  const auto has = [&](const char* flag) {
    return flags.find(std::string(" ") + flag + " ") != std::string::npos;
  };
  EXPECT_EQ(detected_isa() >= Isa::avx2, has("avx2") && has("fma") && has("f16c"));
  EXPECT_EQ(detected_isa() >= Isa::avx512,
            has("avx512f") && has("avx512bw") && has("avx512vl") && has("avx512dq"));
  EXPECT_EQ(detected_isa() >= Isa::avx512_bf16, has("avx512_bf16"));
  EXPECT_EQ(detected_isa() >= Isa::amx, has("amx_bf16") && has("amx_tile"));
}

}  // namespace
}  // namespace fovea
