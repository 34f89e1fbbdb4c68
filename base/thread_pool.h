// A fixed number of threads that run tasks in the order they were handed in. For work that comes in
// pieces of milliseconds (decoding, packing, checking); arithmetic kernels have their own threads.
#pragma once

#include <deque>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "base/mutex.h"

namespace ds {

class ThreadPool {
 public:
  // A task must not throw and must not call Wait on its own pool; it may call Submit.
  using Task = absl::AnyInvocable<void()>;

  // At least 1 thread; AvailableCores() of base/cpu/available_cores.h is a good number.
  explicit ThreadPool(int threads);
  // Runs everything that was submitted, then ends the threads.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Never waits. Any thread may call it.
  void Submit(Task task);
  // Until no task is queued or running. Any thread outside the pool may call it.
  void Wait();
  int size() const { return static_cast<int>(threads_.size()); }

 private:
  void Work();

  Mutex mutex_;
  CondVar changed_;  // a task came, or the end
  CondVar idle_;     // nothing is queued or running
  std::deque<Task> queue_ ABSL_GUARDED_BY(mutex_);
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace ds
