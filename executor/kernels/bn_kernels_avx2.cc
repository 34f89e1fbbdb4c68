// Batch normalisation kernels compiled for Avx2.
#define DS_BN_LANES 8
#include "executor/kernels/bn_kernels_inl.h"

namespace ds::executor {

const BnKernels& BnKernelsAvx2(bool bf16) { return LocalTable(bf16); }

}  // namespace ds::executor
