#include "tests/nn/proofs/counted_memory.h"

#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <unordered_map>

// The linker sends the test program's calls of these here, the kernels' among them (--wrap): libtorch's stay.
extern "C" {
void __real_free(void* data);
void* __real_aligned_alloc(size_t alignment, size_t bytes);
void* __wrap_aligned_alloc(size_t alignment, size_t bytes);
void __wrap_free(void* data);
}

namespace fovea::proofs {
namespace {

struct Counted {
  std::mutex mutex;
  std::unordered_map<void*, size_t> bytes;
  int64_t out = 0, peak = 0;
};

// Never destroyed: static tensors give their memory back late.
Counted& counted() {
  static auto* all = new Counted;
  return *all;
}

void* take(size_t bytes) {
  void* data = __real_aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (!data) throw std::bad_alloc();
  const std::lock_guard lock(counted().mutex);
  counted().bytes.emplace(data, bytes);
  counted().out += static_cast<int64_t>(bytes);
  counted().peak = std::max(counted().peak, counted().out);
  return data;
}

void give_back(void* data) {
  {
    const std::lock_guard lock(counted().mutex);
    const auto found = counted().bytes.find(data);
    if (found != counted().bytes.end()) {
      counted().out -= static_cast<int64_t>(found->second);
      counted().bytes.erase(found);
    }
  }
  __real_free(data);
}

class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* data = bytes ? take(bytes) : nullptr;
    return {data, data, &give_back, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
};

// Before the first test, and for good.
const bool counting = [] {
  static CountingAllocator allocator;
  c10::SetCPUAllocator(&allocator, /*priority=*/255);
  return true;
}();

}  // namespace

int64_t bytes_out() {
  const std::lock_guard lock(counted().mutex);
  return counted().out;
}

int64_t peak_bytes_out() {
  const std::lock_guard lock(counted().mutex);
  return counted().peak;
}

void reset_peak() {
  const std::lock_guard lock(counted().mutex);
  counted().peak = counted().out;
}

}  // namespace fovea::proofs

void* __wrap_aligned_alloc(size_t, size_t bytes) { return fovea::proofs::take(bytes); }
void __wrap_free(void* data) { fovea::proofs::give_back(data); }
