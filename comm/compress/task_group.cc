#include "comm/compress/task_group.h"

#include <utility>

#include "base/status.h"

namespace ds {

TaskGroup::~TaskGroup() { (void)WaitAll(); }

int TaskGroup::Start(Task task) {
  std::unique_lock lock(mutex_);
  const size_t index = tasks_.size();
  tasks_.emplace_back();
  if (pool_ == nullptr) {
    tasks_[index] = {true, task()};
    return static_cast<int>(index);
  }
  lock.unlock();
  pool_->Submit([this, index, task = std::move(task)]() mutable {
    absl::Status status = task();
    // Notified under the lock: the group may be gone as soon as its owner sees the task done.
    std::lock_guard done_lock(mutex_);
    tasks_[index] = {true, std::move(status)};
    changed_.notify_all();
  });
  return static_cast<int>(index);
}

absl::Status TaskGroup::Wait(int task) {
  std::unique_lock lock(mutex_);
  const size_t index = static_cast<size_t>(task);
  changed_.wait(lock, [&] { return tasks_[index].done; });
  return tasks_[index].status;
}

absl::Status TaskGroup::WaitAll() {
  absl::Status first;
  const size_t count = tasks_.size();
  for (size_t i = 0; i < count; ++i) first.Update(Wait(static_cast<int>(i)));
  return first;
}

}  // namespace ds
