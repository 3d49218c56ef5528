#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace fovea {

/// Instruction sets that kernels are written for, weakest first; each contains those before it.
enum class Isa { baseline, avx2, avx512, avx512_bf16, amx };

/// The name that FOVEA_ISA takes: baseline, avx2, avx512, avx512_bf16, amx.
std::string_view isa_name(Isa isa);

/// Throws Error (usage) with the nearest name when `name` is none.
Isa isa_from_name(std::string_view name);

/// The strongest set that both this CPU and its operating system offer. Constant during a process.
Isa detected_isa();

/// What kernels run on: FOVEA_ISA when set, otherwise detected_isa(). Read once.
/// Throws Error (usage) when FOVEA_ISA names no set or one that this CPU lacks.
Isa active_isa();

/// Whether kernels multiply pairs of bfloat16, without widening them. Errors as active_isa().
inline bool has_bf16_products() { return active_isa() >= Isa::avx512_bf16; }

/// That of its three arguments which is written for active_isa(). Errors as active_isa().
template <class T>
T for_active_isa(T baseline, T avx2, T avx512) {
  const Isa isa = active_isa();
  return isa >= Isa::avx512 ? avx512 : isa >= Isa::avx2 ? avx2 : baseline;
}

/// Feature names of the CPU that matter here ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", ...).
std::vector<std::string> cpu_features();

}  // namespace fovea
