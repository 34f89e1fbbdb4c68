#include "launch/instructions.h"

#include <cstdlib>

#include "base/cpu/cpu_limit.h"
#include "base/status.h"

namespace ds {
namespace {

// The names that others have for a level.
struct Names {
  const char* level;
  const char* aten;
  const char* onednn;
  const char* mkl;
};

constexpr Names kNames[] = {{"baseline", "default", "SSE41", "SSE4_2"},
                            {"avx2", "avx2", "AVX2", "AVX2"},
                            {"avx512", "avx512", "AVX512_CORE", "AVX512"}};

}  // namespace

absl::Status LimitInstructions(const std::string& level) {
  DS_RETURN_IF_ERROR(LimitCpu(level));
  for (const Names& names : kNames) {
    if (names.level != level) continue;
    setenv("ATEN_CPU_CAPABILITY", names.aten, 1);
    setenv("ONEDNN_MAX_CPU_ISA", names.onednn, 1);
    setenv("MKL_ENABLE_INSTRUCTIONS", names.mkl, 1);
  }
  return absl::OkStatus();
}

}  // namespace ds
