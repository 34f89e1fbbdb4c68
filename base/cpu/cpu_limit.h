// Keeps this program to the kernels of an older processor, to test and to measure how such ones
// fare.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/cpu/cpu_features.h"

namespace ds {

// `features` without those newer than `level`: "auto" keeps all, "avx512" F, BW, DQ and VL, "avx2"
// that alone, "baseline" none. InvalidArgument for another word.
absl::StatusOr<CpuFeatures> LimitedTo(absl::string_view level, CpuFeatures features);
// Makes Cpu() tell only what LimitedTo(level) leaves. For main(), before any kernel was chosen:
// FailedPrecondition once Cpu() was called.
absl::Status LimitCpu(absl::string_view level);

}  // namespace ds
