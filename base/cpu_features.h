// What this processor can do, asked at run time: binaries are built for the baseline and choose
// their kernels here.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

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

// `features` without those newer than `level`: "auto" keeps all, "avx512" F, BW, DQ and VL, "avx2"
// that alone, "baseline" none. InvalidArgument for another word.
absl::StatusOr<CpuFeatures> LimitedTo(absl::string_view level, CpuFeatures features);
// Makes Cpu() tell only what LimitedTo(level) leaves, to test and to measure how older processors
// fare. For main(), before any kernel was chosen: FailedPrecondition once Cpu() was called.
absl::Status LimitCpu(absl::string_view level);

// "avx2 avx512 avx512_vnni avx512_bf16".
std::string Describe(const CpuFeatures& features);
// Cores this process may run on (its affinity mask), at least 1.
int AvailableCores();

}  // namespace ds
