#include "base/cpu/cpu_features.h"
#include "codec/kernels.h"

namespace ds::lowbit {

const CodecKernels* KernelsFor(InstructionSet set) {
  switch (set) {
    case InstructionSet::kScalar:
      return &ScalarKernels();
#if defined(__x86_64__)
    case InstructionSet::kAvx2:
      return Cpu().avx2 ? &Avx2Kernels() : nullptr;
    case InstructionSet::kAvx512:
      return Cpu().avx512 ? &Avx512Kernels() : nullptr;
#elif defined(__aarch64__)
    case InstructionSet::kNeon:
      return Cpu().neon ? &NeonKernels() : nullptr;
#endif
    default:
      return nullptr;
  }
}

const CodecKernels& BestKernels() {
  static const CodecKernels& best = []() -> const CodecKernels& {
    for (InstructionSet set :
         {InstructionSet::kAvx512, InstructionSet::kAvx2, InstructionSet::kNeon}) {
      if (const CodecKernels* kernels = KernelsFor(set)) return *kernels;
    }
    return ScalarKernels();
  }();
  return best;
}

}  // namespace ds::lowbit
