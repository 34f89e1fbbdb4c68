#include "base/cpu/cpu_features.h"
#include "federated/update/packing.h"

namespace ds::federated {

#if defined(__x86_64__)

// Some processors with AVX2 have pext in microcode, at hundreds of cycles; none with AVX-512.
bool HasFastBmi2() { return Cpu().avx512; }
const PackingKernels& BestPacking() { return HasFastBmi2() ? Bmi2Packing() : PortablePacking(); }

#else

bool HasFastBmi2() { return false; }
const PackingKernels& BestPacking() { return PortablePacking(); }

#endif

}  // namespace ds::federated
