// Time by the monotonic clock: spans, and deadlines that a step of the wall clock does not move.
// The wall clock (absl::Now) is for dates that people read; tests/lint/wall_clock_test.py sees to
// it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "absl/time/time.h"

namespace ds {

// Since some moment of this machine's; never goes back.
inline absl::Duration SteadyTime() {
  return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}
// The same in seconds, and in whole microseconds.
inline double SteadySeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
inline int64_t SteadyMicros() { return absl::ToInt64Microseconds(SteadyTime()); }

// The moment at which a wait is given up.
class Deadline {
 public:
  // `patience` from now; absl::InfiniteDuration() is never.
  static Deadline In(absl::Duration patience) { return Deadline(SteadyTime() + patience); }

  bool IsPast() const { return SteadyTime() > at_; }
  // What is left of it; 0 once it is past.
  absl::Duration Left() const { return std::max(at_ - SteadyTime(), absl::ZeroDuration()); }
  Deadline LaterBy(absl::Duration span) const { return Deadline(at_ + span); }
  // For std::condition_variable::wait_until; at most a year from now, which overflows nothing.
  std::chrono::steady_clock::time_point Moment() const {
    return std::chrono::steady_clock::now() +
           absl::ToChronoNanoseconds(std::min(Left(), absl::Hours(24 * 365)));
  }

 private:
  explicit Deadline(absl::Duration at) : at_(at) {}

  absl::Duration at_;  // as SteadyTime
};

// Patience until a deadline, for a wait that looks again and again. The time for which this process
// stood still itself does not count: where a whole job is stopped and goes on later, those that are
// waited for have stood still too.
class Patience {
 public:
  // A wait that begins too late, for the same reason, gets a moment all the same.
  explicit Patience(Deadline deadline)
      : deadline_(deadline.IsPast() ? Deadline::In(kStoodStill) : deadline),
        looked_(SteadyTime()) {}

  // Is the deadline past? To be asked at NextLook at the latest.
  bool IsOver() {
    const absl::Duration now = SteadyTime(), since = now - looked_;
    if (since > kStoodStill) deadline_ = deadline_.LaterBy(since);
    looked_ = now;
    return deadline_.IsPast();
  }
  std::chrono::steady_clock::time_point NextLook() const {
    return std::min(deadline_.Moment(),
                    std::chrono::steady_clock::now() + std::chrono::milliseconds(500));
  }

 private:
  // Far above what a busy machine keeps a thread from looking.
  static constexpr absl::Duration kStoodStill = absl::Seconds(2);

  Deadline deadline_;
  absl::Duration looked_;  // when, as SteadyTime
};

}  // namespace ds
