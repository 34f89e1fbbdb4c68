// The tables of those instruction sets that this program was compiled for; choice.cc knows which of
// them may run.
#pragma once

#include "deploy/engine/runtime/kernels/kernels.h"

namespace ds::engine {

const Kernels& ScalarKernels();
const Kernels& Avx2Kernels();
const Kernels& Avx512VnniKernels();
const Kernels& NeonKernels();
const Kernels& NeonDotKernels();
const Kernels& NeonI8mmKernels();

}  // namespace ds::engine
