// What ThreadSanitizer must say with our suppressions (run_tsan asks it):
//
//   seeded_race status    nothing: the last owner of an absl::Status frees what another one has
//   seeded_race errno     nothing: errno's texts, which one thread has made, are read by two
//   seeded_race race      a race: two threads add to one number without a lock
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/status.h"

namespace {

// Correct, by the count of the status's owners alone: the flag orders nothing.
int ShareAStatus() {
  std::optional<absl::Status> status = absl::InternalError("a message, so that it is counted");
  std::atomic<bool> copied = false;
  std::thread reader([&] {
    { const absl::Status copy = *status; }
    copied.store(true, std::memory_order_relaxed);
  });
  while (!copied.load(std::memory_order_relaxed)) std::this_thread::yield();
  status.reset();
  reader.join();
  return 0;
}

// Correct, by the table's guard alone, which stands in the library.
int ReadErrnosTexts() {
  std::atomic<bool> made = false;
  std::thread first([&] {
    (void)absl::ErrnoToStatus(ENOENT, "");
    made.store(true, std::memory_order_relaxed);
  });
  while (!made.load(std::memory_order_relaxed)) std::this_thread::yield();
  (void)absl::ErrnoToStatus(ENOENT, "");
  first.join();
  return 0;
}

int Race() {
  long count = 0;
  const auto add = [&count] {
    for (int i = 0; i < 1000; ++i) ++count;
  };
  std::thread other(add);
  add();
  other.join();
  std::printf("%ld\n", count);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc == 2 ? argv[1] : "";
  if (what == "status") return ShareAStatus();
  if (what == "errno") return ReadErrnosTexts();
  if (what == "race") return Race();
  std::fprintf(stderr, "usage: %s status|errno|race\n", argv[0]);
  return 2;
}
