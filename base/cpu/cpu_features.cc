#include "base/cpu/cpu_features.h"

#include <atomic>

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace ds {

CpuFeatures DetectCpu() {
  CpuFeatures cpu;
#if defined(__x86_64__)
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  // Clang 14 has no name for F16C: CPUID leaf 1, ECX bit 29. That the system saves the registers,
  // "avx2" says.
  constexpr unsigned kF16cBit = 1u << 29;
  const bool f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & kF16cBit) != 0;
  cpu.avx2 = f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  cpu.avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  cpu.avx512_vnni = cpu.avx512 && __builtin_cpu_supports("avx512vnni");
  cpu.avx512_bf16 = cpu.avx512 && __builtin_cpu_supports("avx512bf16");
  // GCC 12 has no name for AMX here: CPUID leaf 7, EDX bit 22 is AMX-BF16.
  constexpr unsigned kAmxBf16Bit = 1u << 22;
  cpu.amx_bf16 = __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx & kAmxBf16Bit) != 0;
#elif defined(__aarch64__)
  cpu.neon = true;
  cpu.neon_dotprod = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#endif
  return cpu;
}

namespace {

std::atomic<bool> asked = false;

// What Cpu() tells; not const only for OverrideCpu.
CpuFeatures& Told() {
  static CpuFeatures features = DetectCpu();
  return features;
}

}  // namespace

const CpuFeatures& Cpu() {
  asked = true;
  return Told();
}

bool OverrideCpu(const CpuFeatures& features) {
  if (asked) return false;
  Told() = features;
  return true;
}

std::string Describe(const CpuFeatures& features) {
  std::string text;
  const auto add = [&text](bool has, const char* name) {
    if (has) text += (text.empty() ? "" : " ") + std::string(name);
  };
  add(features.avx2, "avx2");
  add(features.avx512, "avx512");
  add(features.avx512_vnni, "avx512_vnni");
  add(features.avx512_bf16, "avx512_bf16");
  add(features.amx_bf16, "amx_bf16");
  add(features.neon, "neon");
  add(features.neon_dotprod, "neon_dotprod");
  return text.empty() ? "baseline" : text;
}

}  // namespace ds
