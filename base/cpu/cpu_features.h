// What this processor can do, asked at run time: binaries are built for the baseline and choose
// their kernels here.
#pragma once

#include <string>

namespace ds {

struct CpuFeatures {
  bool avx2 = false;    // with FMA and F16C
  bool avx512 = false;  // F, BW, DQ and VL together
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool amx_bf16 = false;
  bool neon = false;
  bool neon_dotprod = false;
};

// Asked once.
const CpuFeatures& Cpu();

// For LimitCpu (cpu_limit.h): Cpu() tells `features` from now on. False, and nothing changes, once
// Cpu() was called.
bool OverrideCpu(const CpuFeatures& features);
// As Cpu() before it was overridden.
CpuFeatures DetectCpu();

// "avx2 avx512 avx512_vnni avx512_bf16".
std::string Describe(const CpuFeatures& features);

}  // namespace ds
