#include "base/cpu/cpu_limit.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {

absl::StatusOr<CpuFeatures> LimitedTo(absl::string_view level, CpuFeatures features) {
  if (level == "auto") return features;
  if (level == "baseline") return CpuFeatures{};
  const bool avx512 = features.avx512 && level == "avx512";
  if (level != "avx2" && level != "avx512") {
    return absl::InvalidArgumentError(absl::StrCat("unknown instruction set '", level,
                                                   "'; it is one of auto, baseline, avx2, avx512"));
  }
  return CpuFeatures{.avx2 = features.avx2, .avx512 = avx512};
}

absl::Status LimitCpu(absl::string_view level) {
  DS_ASSIGN_OR_RETURN(const CpuFeatures limited, LimitedTo(level, DetectCpu()));
  if (OverrideCpu(limited)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "the processor's features are limited after kernels were chosen by them");
}

}  // namespace ds
