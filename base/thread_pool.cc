#include "base/thread_pool.h"

#include <utility>

#include "base/check.h"

namespace ds {

ThreadPool::ThreadPool(int threads) {
  DS_CHECK(threads >= 1) << "a pool of " << threads << " threads can run nothing";
  threads_.reserve(static_cast<size_t>(threads));
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

ThreadPool::~ThreadPool() {
  {
    const MutexLock lock(mutex_);
    ending_ = true;
  }
  changed_.NotifyAll();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::Submit(Task task) {
  {
    const MutexLock lock(mutex_);
    queue_.push_back(std::move(task));
  }
  changed_.NotifyOne();
}

void ThreadPool::Wait() {
  const MutexLock lock(mutex_);
  while (!queue_.empty() || running_ > 0) idle_.Wait(mutex_);
}

void ThreadPool::Work() {
  const MutexLock lock(mutex_);
  while (true) {
    while (!ending_ && queue_.empty()) changed_.Wait(mutex_);
    // A running task may still submit: its own thread comes round and finds it.
    if (queue_.empty()) return;
    Task task = std::move(queue_.front());
    queue_.pop_front();
    ++running_;
    {
      const MutexUnlock unlocked(mutex_);
      task();
      task = nullptr;  // what it held is released before anybody hears that it is done
    }
    --running_;
    if (queue_.empty() && running_ == 0) idle_.NotifyAll();
  }
}

}  // namespace ds
