#include "federated/rpc/calls/budget.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace ds::federated {

Budget::Share& Budget::Share::operator=(Share&& other) noexcept {
  Release();
  budget_ = std::exchange(other.budget_, nullptr);
  caller_ = std::move(other.caller_);
  bytes_ = other.bytes_;
  return *this;
}

void Budget::Share::Release() {
  Budget* budget = std::exchange(budget_, nullptr);
  if (budget != nullptr) budget->GiveBack(caller_, bytes_);
}

Budget::Share Budget::ShareOf(const std::string& caller, int64_t bytes) {
  Share share;
  share.budget_ = this;
  share.caller_ = caller;
  share.bytes_ = bytes;
  return share;
}

bool Budget::TryTake(const std::string& caller, int64_t bytes) {
  if (used_ + bytes > total_) return false;
  int64_t& used_by_caller = used_by_[caller];
  if (used_by_caller + bytes > per_caller_) return false;
  used_by_caller += bytes;
  used_ += bytes;
  peak_ = std::max(peak_, used_);
  return true;
}

void Budget::Take(const std::string& caller, int64_t bytes, Taken taken) {
  DS_CHECK(bytes <= per_caller_ && per_caller_ <= total_) << bytes;
  {
    MutexLock lock(mutex_);
    // Nobody overtakes: while there is a queue, all bytes that are left are spoken for, or this
    // caller's are.
    bool queue = false;
    for (const Waiting& other : waiting_)
      queue = queue || other.caller == caller || used_ + other.bytes > total_;
    if (queue || !TryTake(caller, bytes)) {
      waiting_.push_back({caller, bytes, std::move(taken)});
      return;
    }
  }
  taken(ShareOf(caller, bytes));
}

void Budget::GiveBack(const std::string& caller, int64_t bytes) {
  MutexLock lock(mutex_);
  used_ -= bytes;
  const auto by_caller = used_by_.find(caller);
  by_caller->second -= bytes;
  if (by_caller->second == 0) used_by_.erase(by_caller);
  for (auto next = waiting_.begin(); next != waiting_.end();) {
    if (used_ + next->bytes > total_) break;
    if (!TryTake(next->caller, next->bytes)) {
      ++next;
      continue;
    }
    pool_.Submit(
        [taken = std::move(next->taken), share = ShareOf(next->caller, next->bytes)]() mutable {
          taken(std::move(share));
        });
    next = waiting_.erase(next);
  }
}

int64_t Budget::peak() const {
  MutexLock lock(mutex_);
  return peak_;
}

}  // namespace ds::federated
