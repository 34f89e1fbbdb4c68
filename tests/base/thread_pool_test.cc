#include "base/thread_pool.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace ds {
namespace {

TEST(ThreadPoolTest, RunsEveryTaskOnce) {
  for (int threads : {1, 2, 3, 8}) {
    for (int tasks : {0, 1, 7, 1009}) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(tasks));
      ThreadPool pool(threads);
      EXPECT_EQ(pool.size(), threads);
      for (auto& run : runs) pool.Submit([&run] { ++run; });
      pool.Wait();
      for (const auto& run : runs) EXPECT_EQ(run, 1);
    }
  }
}

TEST(ThreadPoolTest, OneThreadKeepsTheOrder) {
  std::vector<int> order;
  ThreadPool pool(1);
  for (int i = 0; i < 100; ++i) pool.Submit([&order, i] { order.push_back(i); });
  pool.Wait();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

// Each task waits for the other: with fewer than two threads at work this would never end.
TEST(ThreadPoolTest, TasksRunAtTheSameTime) {
  std::atomic<int> arrived = 0;
  ThreadPool pool(2);
  for (int i = 0; i < 2; ++i) {
    pool.Submit([&arrived] {
      ++arrived;
      while (arrived < 2) std::this_thread::yield();
    });
  }
  pool.Wait();
  EXPECT_EQ(arrived, 2);
}

TEST(ThreadPoolTest, EndRunsWhatIsQueuedAndWhatItSubmits) {
  std::atomic<int> runs = 0;
  {
    ThreadPool pool(2);
    for (int i = 0; i < 50; ++i) {
      pool.Submit([&] {
        std::this_thread::sleep_for(std::chrono::microseconds(100));
        pool.Submit([&runs] { ++runs; });
      });
    }
  }
  EXPECT_EQ(runs, 50);
}

TEST(ThreadPoolTest, WaitCoversTasksThatTasksSubmit) {
  std::atomic<int> runs = 0;
  ThreadPool pool(3);
  for (int i = 0; i < 20; ++i) {
    pool.Submit([&] { pool.Submit([&runs] { ++runs; }); });
  }
  pool.Wait();
  EXPECT_EQ(runs, 20);
}

TEST(ThreadPoolTest, TakesTasksThatCanOnlyMoveAndReleasesThemBeforeWaitReturns) {
  const auto shared = std::make_shared<int>(3);
  std::atomic<int> sum = 0;
  ThreadPool pool(2);
  pool.Submit([own = std::make_unique<int>(4), shared, &sum] { sum += *own + *shared; });
  pool.Wait();
  EXPECT_EQ(sum, 7);
  EXPECT_EQ(shared.use_count(), 1);
}

TEST(ThreadPoolDeathTest, NeedsAThread) { EXPECT_DEATH(ThreadPool(0), "can run nothing"); }

}  // namespace
}  // namespace ds
