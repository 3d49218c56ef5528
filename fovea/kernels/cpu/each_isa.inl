// Compiles the file FOVEA_ROWS once for each instruction set, in the namespaces baseline, avx2 and avx512, with these
// macros, FOVEA_LANES (floats of a vector) and FOVEA_TARGET (the attribute of its functions). What else differs between
// the sets is declared in these namespaces before. FOVEA_WITH_BF16 lets that of avx512 use avx512_bf16, FOVEA_WITH_AMX
// the tile registers too.
#include "fovea/core/isa_target.h"

#define KERNEL FOVEA_TARGET __attribute__((flatten)) static
#define INLINE FOVEA_TARGET static inline
#define F simd::Floats<FOVEA_LANES>
#define I simd::Ints<FOVEA_LANES>
#define NF simd::lanes::Native<FOVEA_LANES>::f
#define NI simd::lanes::Native<FOVEA_LANES>::i

namespace baseline {
#define FOVEA_LANES 4
#define FOVEA_TARGET FOVEA_TARGET_BASELINE
#include FOVEA_ROWS
#undef FOVEA_LANES
#undef FOVEA_TARGET
}  // namespace baseline

namespace avx2 {
#define FOVEA_LANES 8
#define FOVEA_TARGET FOVEA_TARGET_AVX2
#include FOVEA_ROWS
#undef FOVEA_LANES
#undef FOVEA_TARGET
}  // namespace avx2

namespace avx512 {
#define FOVEA_LANES 16
#if defined(FOVEA_WITH_AMX)
#define FOVEA_TARGET FOVEA_TARGET_AMX
#elif defined(FOVEA_WITH_BF16)
#define FOVEA_TARGET FOVEA_TARGET_AVX512_BF16
#else
#define FOVEA_TARGET FOVEA_TARGET_AVX512
#endif
#include FOVEA_ROWS
#undef FOVEA_LANES
#undef FOVEA_TARGET
}  // namespace avx512

#undef KERNEL
#undef INLINE
#undef F
#undef I
#undef NF
#undef NI
