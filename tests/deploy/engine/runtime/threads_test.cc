// Each unit of each step is done once, whoever does it: threads that come late find their part
// done.
#include "deploy/engine/runtime/threads.h"

#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds::engine {
namespace {

class Counting : public Step {
 public:
  Counting(int units, int pauses)
      : Step(units, /*work=*/1 << 20, /*scratch_bytes=*/64),
        times_(static_cast<size_t>(units)),
        pauses_(pauses) {}

  void Run(Range units, void* scratch) const override {
    for (int32_t i = units.begin; i < units.end; ++i) {
      ++times_[static_cast<size_t>(i)];
      for (int pause = 0; pause < pauses_; ++pause) {
        std::atomic_signal_fence(std::memory_order_seq_cst);  // stays a loop
      }
    }
    ++static_cast<char*>(scratch)[0];  // for this thread alone: ThreadSanitizer looks
  }

  const std::vector<int>& times() const { return times_; }

 private:
  mutable std::vector<int> times_;
  int pauses_;
};

class ThreadsTest : public testing::TestWithParam<int> {};

TEST_P(ThreadsTest, EachUnitIsDoneOnce) {
  Threads threads(GetParam());
  ASSERT_TRUE(threads.Reserve(64));
  std::mt19937 random(1);
  for (int step = 0; step < 5000; ++step) {
    if (step % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));  // they sleep
    const Counting counting(static_cast<int>(random() % 9) + 1, static_cast<int>(random() % 300));
    threads.Run(counting);
    ASSERT_THAT(counting.times(), testing::Each(1)) << step;
  }
}

INSTANTIATE_TEST_SUITE_P(, ThreadsTest, testing::Values(1, 2, 3, 7));

}  // namespace
}  // namespace ds::engine
