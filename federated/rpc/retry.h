// Pauses between attempts. Seen by federated/rpc/'s sources only.
#pragma once

#include <algorithm>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace ds::federated {

constexpr absl::Duration kFirstPause = absl::Milliseconds(20);
constexpr absl::Duration kLongestPause = absl::Seconds(1);

// `pause`, a random part of up to a half less: many sites that lost one aggregator do not come back
// at the same moment.
absl::Duration Jittered(absl::Duration pause);

// The pauses of one call.
class Pauses {
 public:
  void Reset() { pause_ = kFirstPause; }
  // `at_most`, or the next pause.
  void Sleep(absl::Duration at_most) {
    absl::SleepFor(std::min(at_most, Jittered(pause_)));
    pause_ = std::min(2 * pause_, kLongestPause);
  }

 private:
  absl::Duration pause_ = kFirstPause;
};

}  // namespace ds::federated
