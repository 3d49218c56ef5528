#pragma once
#include <cstddef>

// The memory of this test program tells: all that torch's allocator and the kernels' buffers hand out is full
// of bytes 0xff, which are NaN as float32, bfloat16 and float16, and stands between guards of the same bytes.
// What reads memory before it is written, or outside its operands, gets NaN; guards are looked at when memory
// is given back, and a changed one fails the test that runs.

namespace fovea::test {

/// Memory of so many bytes, aligned to 64.
void* poisoned(size_t bytes);

/// Fails the test that runs where something was written outside of what poisoned() gave. Null is nothing.
void give_back(void* data);

}  // namespace fovea::test
