#include "federated/pki/wall_time.h"

#include "absl/time/clock.h"

namespace ds::federated {

WallClock MachineClock() {
  return [] { return absl::Now(); };
}

std::string DateText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", time, absl::UTCTimeZone());
}

}  // namespace ds::federated
