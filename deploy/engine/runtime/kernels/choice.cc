#include <cstring>
#include <initializer_list>

#include "deploy/engine/runtime/kernels/tables.h"

namespace ds::engine {
namespace {

constexpr const char* kNames[kIsaCount] = {"scalar", "avx2", "avx512vnni"};

#if defined(__x86_64__)
// The compiler's builtin asks cpuid, and the operating system whether it saves the wide registers.
bool HasAvx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool HasAvx512Vnni() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni");
}
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
#endif
    default:
      return nullptr;
  }
}

const Kernels& BestKernels() {
  for (Isa isa : {Isa::kAvx512Vnni, Isa::kAvx2}) {
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
