#include "tests/ops/poisoned_memory.h"

#include <ATen/ATen.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <cmath>

#include "fovea/kernels/cpu/buffer.h"

namespace fovea {
namespace {

// The compiler, which would refuse what is wrong, does not look inside.
[[gnu::noipa]] void write(float* data, int64_t place) { data[place] = 1.0f; }

TEST(PoisonedMemory, FreshMemoryIsNan) {
  if (test::poison() != 0xff) GTEST_SKIP() << "other rubbish is asked for";
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf})
    EXPECT_TRUE(at::isnan(at::empty({1000}, type)).all().item<bool>()) << type;
  const kernels::Buffer<float> buffer(100);
  for (int64_t i = 0; i < 100; ++i) EXPECT_TRUE(std::isnan(buffer[i])) << i;
}

TEST(PoisonedMemory, AWriteOutsideIsSeen) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer sees it at once";
#endif
  const auto plain_at = [](int64_t place) {
    void* data = test::poisoned(400);
    write(static_cast<float*>(data), place);
    test::give_back(data);
  };
  plain_at(0);
  plain_at(99);
  EXPECT_NONFATAL_FAILURE(plain_at(-1), "wrote before memory of 400 bytes");
  EXPECT_NONFATAL_FAILURE(plain_at(100), "wrote behind memory of 400 bytes");
  const auto buffer_at = [](int64_t place) { write(kernels::Buffer<float>(96).get(), place); };
  buffer_at(95);
  EXPECT_NONFATAL_FAILURE(buffer_at(96), "wrote behind memory of 384 bytes");
  const auto tensor_at = [](int64_t place) { write(at::empty({100}).mutable_data_ptr<float>(), place); };
  tensor_at(99);
  EXPECT_NONFATAL_FAILURE(tensor_at(100), "wrote behind memory of 400 bytes");
}

}  // namespace
}  // namespace fovea
