// A disk in memory, and stores on it that die: what was acknowledged stays, of the rest something.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "federated/store/store.h"

namespace ds::federated {

// The nth step of one life of the aggregator is its last, with its effect or without. Steps are
// what it does to the disk, and the boundaries that it names. Thread-safe: a step and its effect
// are one, and after death nothing has an effect.
class Death {
 public:
  // `at` from 1; 0: never. `entry`, where it is not empty: after the first entry of the log that
  // holds it.
  Death(int64_t at, bool with_effect, std::string entry = "")
      : at_(at), with_effect_(with_effect), entry_(std::move(entry)) {}

  absl::Status Step(const std::function<absl::Status()>& effect);
  // A step, unless the entry was the last.
  absl::Status Append(absl::string_view entry, const std::function<absl::Status()>& effect);
  bool IsDead() const;
  int64_t steps() const;

 private:
  const int64_t at_;
  const bool with_effect_;
  const std::string entry_;
  mutable Mutex mutex_;
  int64_t steps_ ABSL_GUARDED_BY(mutex_) = 0;
  bool dead_ ABSL_GUARDED_BY(mutex_) = false;
};

class CrashDisk {
 public:
  // A process's store on it.
  std::unique_ptr<Store> Open(std::shared_ptr<Death> death);
  // What a machine that went down leaves, by `seed`: uploads under way lose bytes or have them made
  // zeros, and blobs that were removed since the last time may be there again.
  void LosePower(uint64_t seed);

  std::vector<std::string> Records() const;
  size_t blobs() const;
  // Every blob that was ever whole, removed or not, by digest.
  std::map<std::string, std::string> Ever() const;

 private:
  friend class CrashStore;
  friend class CrashWriter;

  mutable Mutex mutex_;
  std::vector<std::string> records_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> whole_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> parts_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> removed_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> ever_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ds::federated
