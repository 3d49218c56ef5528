#include "fovea/core/isa.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>

#include "fovea/core/error.h"
#include "fovea/core/nearest.h"

namespace fovea {
namespace {

constexpr std::array<std::string_view, 5> kNames = {"baseline", "avx2", "avx512", "avx512_bf16", "amx"};

struct Cpu {
  bool avx2 = false, fma = false, f16c = false, avx512 = false, avx512_bf16 = false, avx512_fp16 = false,
       amx_bf16 = false, amx_fp16 = false;
};

uint64_t xcr0() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

// The kernel hands out the AMX tile registers on request only (Linux, Documentation/arch/x86/xstate.rst).
bool amx_permitted() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

Cpu read_cpu() {
  Cpu cpu;
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return cpu;
  const uint64_t state = xcr0();
  const bool ymm = (state & 0x6) == 0x6, zmm = (state & 0xe6) == 0xe6, tiles = (state & 0x60000) == 0x60000;
  cpu.fma = ymm && (c & bit_FMA);
  cpu.f16c = ymm && (c & bit_F16C);
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return cpu;
  cpu.avx2 = ymm && (b & bit_AVX2);
  const uint32_t needed = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
  cpu.avx512 = zmm && (b & needed) == needed;
  cpu.avx512_fp16 = zmm && (d & (1u << 23));
  const bool amx = tiles && (d & (1u << 24)) && (d & (1u << 22));
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) {
    cpu.avx512_bf16 = cpu.avx512 && (a & (1u << 5));
    cpu.amx_bf16 = amx && amx_permitted();
    cpu.amx_fp16 = cpu.amx_bf16 && (a & (1u << 21));
  }
  return cpu;
}

const Cpu& cpu() {
  static const Cpu value = read_cpu();
  return value;
}

}  // namespace

std::string_view isa_name(Isa isa) { return kNames[static_cast<size_t>(isa)]; }

Isa isa_from_name(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<Isa>(i);
  }
  const std::vector<std::string> all(kNames.begin(), kNames.end());
  throw usage_error("isa", "an instruction set must be one of baseline, avx2, avx512, avx512_bf16, amx",
                    "'" + std::string(name) + "'", suggest_name(name, all, "Choose one of these."));
}

Isa detected_isa() {
  if (!cpu().avx2 || !cpu().fma || !cpu().f16c) return Isa::baseline;
  if (!cpu().avx512) return Isa::avx2;
  if (!cpu().avx512_bf16) return Isa::avx512;
  return cpu().amx_bf16 ? Isa::amx : Isa::avx512_bf16;
}

Isa active_isa() {
  static const Isa active = [] {
    const char* forced = std::getenv("FOVEA_ISA");
    if (!forced || !*forced) return detected_isa();
    const Isa isa = isa_from_name(forced);
    if (isa > detected_isa()) {
      throw usage_error(
          "isa", "FOVEA_ISA must name a set that this CPU has",
          "'" + std::string(forced) + "', the CPU offers up to " + std::string(isa_name(detected_isa())),
          "Unset FOVEA_ISA or name a weaker set.");
    }
    return isa;
  }();
  return active;
}

std::vector<std::string> cpu_features() {
  std::vector<std::string> names;
  const auto add = [&](bool present, const char* name) {
    if (present) names.emplace_back(name);
  };
  add(cpu().avx2, "avx2");
  add(cpu().fma, "fma");
  add(cpu().f16c, "f16c");
  add(cpu().avx512, "avx512");
  add(cpu().avx512_bf16, "avx512_bf16");
  add(cpu().avx512_fp16, "avx512_fp16");
  add(cpu().amx_bf16, "amx_bf16");
  add(cpu().amx_fp16, "amx_fp16");
  return names;
}

}  // namespace fovea
