#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <cstring>
#include <initializer_list>

#include "deploy/engine/runtime/kernels/tables.h"

namespace ds::engine {
namespace {

constexpr const char* kNames[kIsaCount] = {"scalar", "avx2",    "avx512vnni",
                                           "neon",   "neondot", "neoni8mm"};

#if defined(__x86_64__)
// The compiler's builtin asks cpuid, and the operating system whether it saves the wide registers.
bool HasAvx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool HasAvx512Vnni() {
#if defined(DS_EMULATE_AVX512)  // a test, whose kernels are compiled without those instructions
  return true;
#endif
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni");
}
#elif defined(__aarch64__)
// The kernel says what the processor has. Beside the dot product, what else a compiler may use for
// ARMv8.2: rounding products and the atomics of ARMv8.1.
bool HasDot() {
  constexpr unsigned long kNeeded = HWCAP_ASIMDDP | HWCAP_ASIMDRDM | HWCAP_ATOMICS;
  return (getauxval(AT_HWCAP) & kNeeded) == kNeeded;
}
bool HasI8mm() { return HasDot() && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0; }
#endif

}  // namespace

const Kernels* KernelsFor(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return &ScalarKernels();
#if defined(__x86_64__)
    case Isa::kAvx2:
      return HasAvx2() ? &Avx2Kernels() : nullptr;
    case Isa::kAvx512Vnni:
      return HasAvx512Vnni() ? &Avx512VnniKernels() : nullptr;
#elif defined(__aarch64__)
    case Isa::kNeon:
      return &NeonKernels();
    case Isa::kNeonDot:
      return HasDot() ? &NeonDotKernels() : nullptr;
    case Isa::kNeonI8mm:
      return HasI8mm() ? &NeonI8mmKernels() : nullptr;
#endif
    default:
      return nullptr;
  }
}

const Kernels& BestKernels() {
  for (Isa isa : {Isa::kAvx512Vnni, Isa::kAvx2, Isa::kNeonI8mm, Isa::kNeonDot, Isa::kNeon}) {
    if (const Kernels* kernels = KernelsFor(isa)) return *kernels;
  }
  return ScalarKernels();
}

const Kernels* KernelsByName(const char* name) {
  for (int i = 0; i < kIsaCount; ++i) {
    if (std::strcmp(name, kNames[i]) == 0) return KernelsFor(static_cast<Isa>(i));
  }
  return nullptr;
}

const char* IsaName(Isa isa) { return kNames[static_cast<int>(isa)]; }

}  // namespace ds::engine
