#pragma once
#include <cstddef>

// The memory of this test program tells: all that torch's allocator and the kernels' buffers hand out is full
// of one byte, and stands between guards of the same. Of 0xff, numbers are NaN as float32, bfloat16 and
// float16: what reads memory before it is written, or outside its operands, gets NaN. Where NaN counts as
// hidden only finite rubbish shows: FOVEA_TEST_POISON=42 makes numbers of 48.6. Guards are looked at when
// memory is given back, and a changed one fails the test that runs.

namespace fovea::test {

/// The byte that fresh memory is full of.
unsigned char poison();

/// Memory of so many bytes, aligned to 64.
void* poisoned(size_t bytes);

/// Fails the test that runs where something was written outside of what poisoned() gave. Null is nothing.
void give_back(void* data);

}  // namespace fovea::test
