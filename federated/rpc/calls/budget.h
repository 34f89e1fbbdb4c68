// Bytes that may be under way at once: for one caller, and for all. Who asks for more waits its
// turn, without a thread.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "absl/functional/any_invocable.h"
#include "base/mutex.h"
#include "base/thread_pool.h"

namespace ds::federated {

// Thread-safe.
class Budget {
 public:
  // A share of it, given back by its destructor.
  class Share {
   public:
    Share() = default;
    Share(Share&& other) noexcept { *this = std::move(other); }
    Share& operator=(Share&& other) noexcept;
    ~Share() { Release(); }
    void Release();

   private:
    friend class Budget;
    Budget* budget_ = nullptr;
    std::string caller_;
    int64_t bytes_ = 0;
  };
  using Taken = absl::AnyInvocable<void(Share)>;

  // `pool` outlives every share.
  Budget(int64_t total, int64_t per_caller, ThreadPool& pool)
      : total_(total), per_caller_(per_caller), pool_(pool) {}

  // Calls `taken` at once, or later on the pool; in the order of asking, but that nobody waits for
  // what another caller may not have. bytes <= per_caller <= total.
  void Take(const std::string& caller, int64_t bytes, Taken taken);
  int64_t peak() const;

 private:
  struct Waiting {
    std::string caller;
    int64_t bytes;
    Taken taken;
  };

  void GiveBack(const std::string& caller, int64_t bytes);
  bool TryTake(const std::string& caller, int64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Share ShareOf(const std::string& caller, int64_t bytes);

  const int64_t total_, per_caller_;
  ThreadPool& pool_;
  mutable Mutex mutex_;
  int64_t used_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t peak_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unordered_map<std::string, int64_t> used_by_ ABSL_GUARDED_BY(mutex_);
  std::list<Waiting> waiting_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ds::federated
