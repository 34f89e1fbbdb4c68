// Steps this process's wall clock, as an administrator or a time daemon would: link
// tests/support/wall_clock.cc into the program. The monotonic clock goes on as ever.
#pragma once

#include "absl/time/time.h"

namespace ds {

// Adds `step` to all that is told as the time of day from now on, by whichever library asks.
void StepWallClock(absl::Duration step);

}  // namespace ds
