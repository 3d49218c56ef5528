#pragma once

// The attributes that let a function use an instruction set; no file is compiled with a flag for one, as the
// inline functions of its headers would then be of that set, and the linker might keep those copies for
// everybody.

#define FOVEA_TARGET_BASELINE
#define FOVEA_TARGET_AVX2 __attribute__((target("avx2,fma,f16c")))
#define FOVEA_TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,f16c")))
#define FOVEA_TARGET_AVX512_BF16 \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,f16c,avx512bf16")))
#define FOVEA_TARGET_AMX \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,f16c,avx512bf16,amx-tile,amx-bf16")))
