// A few tasks, started one by one and awaited one by one: on a pool, or at once on the caller's
// thread if there is none.
#pragma once

#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "base/mutex.h"
#include "base/thread_pool.h"

namespace ds {

class TaskGroup {
 public:
  using Task = absl::AnyInvocable<absl::Status()>;

  // `pool` may be null; else it must outlive the group.
  explicit TaskGroup(ThreadPool* pool) : pool_(pool) {}
  // Waits for all.
  ~TaskGroup();

  // Returns the task's number.
  int Start(Task task);
  // Its status. May be called more than once.
  absl::Status Wait(int task);
  // The first error in the order of starting.
  absl::Status WaitAll();

 private:
  struct State {
    bool done = false;
    absl::Status status;
  };
  ThreadPool* const pool_;
  Mutex mutex_;
  CondVar changed_;
  std::vector<State> tasks_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ds
