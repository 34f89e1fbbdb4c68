#include "comm/compress/task_group.h"

#include <utility>

namespace ds {

TaskGroup::~TaskGroup() { (void)WaitAll(); }

int TaskGroup::Start(Task task) {
  size_t index = 0;
  {
    const MutexLock lock(mutex_);
    index = tasks_.size();
    tasks_.emplace_back();
  }
  auto run = [this, index, task = std::move(task)]() mutable {
    absl::Status status = task();
    // Notified under the lock: the group may be gone as soon as its owner sees the task done.
    const MutexLock lock(mutex_);
    tasks_[index] = {true, std::move(status)};
    changed_.NotifyAll();
  };
  if (pool_ == nullptr) {
    run();
  } else {
    pool_->Submit(std::move(run));
  }
  return static_cast<int>(index);
}

absl::Status TaskGroup::Wait(int task) {
  const size_t index = static_cast<size_t>(task);
  const MutexLock lock(mutex_);
  while (!tasks_[index].done) changed_.Wait(mutex_);
  return tasks_[index].status;
}

absl::Status TaskGroup::WaitAll() {
  absl::Status first;
  const MutexLock lock(mutex_);
  for (size_t i = 0; i < tasks_.size(); ++i) {
    while (!tasks_[i].done) changed_.Wait(mutex_);
    first.Update(tasks_[i].status);
  }
  return first;
}

}  // namespace ds
