#include "tests/ops/poisoned_memory.h"

#include <c10/core/CPUAllocator.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <unordered_map>

// The linker sends the test program's calls of these here, the kernels' among them (--wrap): libtorch's stay.
extern "C" {
void __real_free(void* data);
void* __wrap_aligned_alloc(size_t alignment, size_t bytes);
void __wrap_free(void* data);
}

namespace fovea::test {
namespace {

// AddressSanitizer watches the surroundings itself, and sees reads as well.
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kGuard = 0;
#else
constexpr size_t kGuard = 256;
#endif

// Sizes of what is out. Never destroyed: static tensors give their memory back late.
struct Ledger {
  std::mutex mutex;
  std::unordered_map<void*, size_t> bytes;
};

Ledger& ledger() {
  static auto* all = new Ledger;
  return *all;
}

void enter(void* data, size_t bytes) {
  const std::lock_guard lock(ledger().mutex);
  ledger().bytes.emplace(data, bytes);
}

// True when `data` was ours; it no longer is.
bool strike_out(void* data, size_t* bytes) {
  const std::lock_guard lock(ledger().mutex);
  const auto found = ledger().bytes.find(data);
  if (found == ledger().bytes.end()) return false;
  *bytes = found->second;
  ledger().bytes.erase(found);
  return true;
}

bool untouched(const unsigned char* guard) {
  return std::all_of(guard, guard + kGuard, [](unsigned char byte) { return byte == poison(); });
}

void check_and_free(void* data, size_t bytes) {
  auto* begin = static_cast<unsigned char*>(data);
  EXPECT_TRUE(untouched(begin - kGuard)) << "something wrote before memory of " << bytes << " bytes";
  EXPECT_TRUE(untouched(begin + bytes)) << "something wrote behind memory of " << bytes << " bytes";
  __real_free(begin - kGuard);
}

class PoisonedAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* data = bytes ? poisoned(bytes) : nullptr;
    return {data, data, &give_back, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
};

// Before the first test, and for good.
const bool installed = [] {
  static PoisonedAllocator allocator;
  c10::SetCPUAllocator(&allocator, /*priority=*/255);
  return true;
}();

}  // namespace

unsigned char poison() {
  static const char* const chosen = std::getenv("FOVEA_TEST_POISON");
  static const auto byte = static_cast<unsigned char>(chosen ? std::strtoul(chosen, nullptr, 16) : 0xff);
  return byte;
}

void* poisoned(size_t bytes) {
  // Not rounded up: AddressSanitizer's watch begins behind the last byte.
  const size_t whole = kGuard + bytes + kGuard;
  void* memory = nullptr;
  if (posix_memalign(&memory, 64, whole) != 0) throw std::bad_alloc();
  auto* base = static_cast<unsigned char*>(memory);
  std::memset(base, poison(), whole);
  enter(base + kGuard, bytes);
  return base + kGuard;
}

void give_back(void* data) {
  size_t bytes = 0;
  if (data && strike_out(data, &bytes)) check_and_free(data, bytes);
}

}  // namespace fovea::test

void* __wrap_aligned_alloc(size_t, size_t bytes) { return fovea::test::poisoned(bytes); }

void __wrap_free(void* data) {
  size_t bytes = 0;
  if (data && fovea::test::strike_out(data, &bytes)) {
    fovea::test::check_and_free(data, bytes);
  } else {
    __real_free(data);
  }
}
