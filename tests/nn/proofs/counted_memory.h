#pragma once
#include <cstdint>

// The memory of this test program is counted: what torch's allocator and the kernels' buffers hand out.

namespace fovea::proofs {

/// Bytes that are out now.
int64_t bytes_out();

/// The most that were out at once since the last reset_peak().
int64_t peak_bytes_out();
void reset_peak();

}  // namespace fovea::proofs
