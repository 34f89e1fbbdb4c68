#include "base/cpu_features.h"
#include "quant/codec_kernels.h"

namespace ds::lowbit {

const CodecKernels* KernelsFor(InstructionSet set) {
  return set == InstructionSet::kScalar ? &ScalarKernels() : nullptr;
}

const CodecKernels& BestKernels() {
  for (InstructionSet set : {InstructionSet::kAvx512, InstructionSet::kAvx2, InstructionSet::kNeon}) {
    if (const CodecKernels* kernels = KernelsFor(set)) return *kernels;
  }
  return ScalarKernels();
}

}  // namespace ds::lowbit
