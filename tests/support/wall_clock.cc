#include "tests/support/wall_clock.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace {

std::atomic<int64_t> step_ns = 0;

}  // namespace

namespace ds {

void StepWallClock(absl::Duration step) { step_ns += absl::ToInt64Nanoseconds(step); }

}  // namespace ds

// Goes before the C library's own, for shared libraries as well.
extern "C" int clock_gettime(clockid_t id, timespec* time) noexcept {
  const int result = static_cast<int>(syscall(SYS_clock_gettime, id, time));
  if (result != 0 || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE)) return result;
  constexpr int64_t kSecond = 1'000'000'000;
  const int64_t stepped = time->tv_sec * kSecond + time->tv_nsec + step_ns;
  time->tv_sec = stepped / kSecond;
  time->tv_nsec = stepped % kSecond;
  return 0;
}
