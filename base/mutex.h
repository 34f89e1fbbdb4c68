// A lock whose rules Clang checks (-Wthread-safety, tests/lint/thread_safety_test.py): a member
// says ABSL_GUARDED_BY(mutex_), a function ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_), and code that
// breaks it does not compile there.
//
// std::mutex and std::condition_variable underneath. Not absl::Mutex: ThreadSanitizer does not see
// into the one that a distribution compiled, and its waits with a deadline go by the wall clock,
// which may be set.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "absl/base/attributes.h"
#include "absl/base/thread_annotations.h"

namespace ds {

class ABSL_LOCKABLE Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mutex_.lock(); }
  void Unlock() ABSL_UNLOCK_FUNCTION() { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

// Holds the mutex as long as it lives.
class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : mutex_(mutex) {
    mutex_.Lock();
  }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// Abseil has no name for a release that the end of a scope takes back.
#if ABSL_HAVE_ATTRIBUTE(release_capability)
#define DS_UNLOCK_IN_SCOPE(mutex) __attribute__((release_capability(mutex)))
#else
#define DS_UNLOCK_IN_SCOPE(mutex)
#endif

// The reverse, for work in the middle of a locked stretch: lets a mutex that is held go as long as
// it lives.
class ABSL_SCOPED_LOCKABLE MutexUnlock {
 public:
  explicit MutexUnlock(Mutex& mutex) DS_UNLOCK_IN_SCOPE(mutex) : mutex_(mutex) { mutex_.Unlock(); }
  // To Clang every scope ends with a release, here of the letting go.
  ~MutexUnlock() ABSL_UNLOCK_FUNCTION() { mutex_.Lock(); }
  MutexUnlock(const MutexUnlock&) = delete;
  MutexUnlock& operator=(const MutexUnlock&) = delete;

 private:
  Mutex& mutex_;
};
#undef DS_UNLOCK_IN_SCOPE

// Waits take no predicate, since Clang does not know which locks a lambda runs under: while
// (!ready_) changed_.Wait(mutex_);
class CondVar {
 public:
  void Wait(Mutex& mutex) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    std::unique_lock<std::mutex> held(mutex.mutex_, std::adopt_lock);
    changed_.wait(held);
    held.release();
  }
  // False where `deadline` came first. Wakes early at times, as Wait does.
  bool WaitUntil(Mutex& mutex, std::chrono::steady_clock::time_point deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    std::unique_lock<std::mutex> held(mutex.mutex_, std::adopt_lock);
    const bool woken = changed_.wait_until(held, deadline) == std::cv_status::no_timeout;
    held.release();
    return woken;
  }
  void NotifyOne() { changed_.notify_one(); }
  void NotifyAll() { changed_.notify_all(); }

 private:
  std::condition_variable changed_;
};

}  // namespace ds
