// Batch normalisation kernels for any processor, and the choice among them.
#define DS_BN_LANES 4
#include "base/cpu/cpu_features.h"
#include "executor/kernels/bn_kernels_inl.h"

namespace ds::executor {

const BnKernels& BnKernelsBaseline(bool bf16) { return LocalTable(bf16); }

BnInstructions BestBnInstructions() {
#if defined(__x86_64__)
  if (Cpu().avx512) return BnInstructions::kAvx512;
  if (Cpu().avx2) return BnInstructions::kAvx2;
#endif
  return BnInstructions::kBaseline;
}

const BnKernels& GetBnKernels(BnInstructions instructions, bool bf16) {
#if defined(__x86_64__)
  if (instructions == BnInstructions::kAvx512) return BnKernelsAvx512(bf16);
  if (instructions == BnInstructions::kAvx2) return BnKernelsAvx2(bf16);
#endif
  return BnKernelsBaseline(bf16);
}

}  // namespace ds::executor
