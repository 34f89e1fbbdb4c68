// Keeps a program to an older processor's instructions, in our kernels and in LibTorch's.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace ds {

// `level` as LimitCpu of base/cpu/cpu_limit.h takes it. For main(), before LibTorch is used: it
// sets the variables from which LibTorch, oneDNN and MKL learn of a limit when they first run.
// "auto" leaves everything as it is.
absl::Status LimitInstructions(const std::string& level);

}  // namespace ds
