// The date, which certificates and tokens are about. The one place of this room that reads the wall
// clock.
#pragma once

#include <functional>
#include <string>

#include "absl/time/time.h"

namespace ds::federated {

// Tests put their own in its place. Thread-safe.
using WallClock = std::function<absl::Time()>;
WallClock MachineClock();

// "2026-03-01 14:05:06 UTC"
std::string DateText(absl::Time time);

}  // namespace ds::federated
