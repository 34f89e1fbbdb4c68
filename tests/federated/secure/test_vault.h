// A vault in memory: what lasts in it is what lasts in the object, whatever becomes of its user.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "federated/secure/secure_agent.h"

namespace ds::federated {

class TestVault : public Vault {
 public:
  absl::Status Put(const std::string& name, absl::string_view value) override {
    MutexLock lock(mutex_);
    if (puts_left_ == 0) return absl::UnavailableError("the test's disk is full");
    if (puts_left_ > 0) --puts_left_;
    values_[name] = std::string(value);
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> Get(const std::string& name) const override {
    MutexLock lock(mutex_);
    const auto found = values_.find(name);
    if (found == values_.end()) return absl::NotFoundError(absl::StrCat("no ", name));
    if (name == damaged_) return absl::DataLossError(absl::StrCat(name, " is damaged"));
    return found->second;
  }
  absl::Status Remove(const std::string& name) override {
    MutexLock lock(mutex_);
    values_.erase(name);
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<std::string>> Names() const override {
    MutexLock lock(mutex_);
    std::vector<std::string> names;
    for (const auto& [name, value] : values_) names.push_back(name);
    return names;
  }

  // A disk as it was, to be put back.
  std::map<std::string, std::string> Image() const {
    MutexLock lock(mutex_);
    return values_;
  }
  void PutBack(std::map<std::string, std::string> image) {
    MutexLock lock(mutex_);
    values_ = std::move(image);
  }
  void Damage(const std::string& name) {
    MutexLock lock(mutex_);
    damaged_ = name;
  }
  // After so many more writes every one fails; negative: never.
  void FailAfter(int puts) {
    MutexLock lock(mutex_);
    puts_left_ = puts;
  }

 private:
  mutable Mutex mutex_;
  std::map<std::string, std::string> values_ ABSL_GUARDED_BY(mutex_);
  std::string damaged_ ABSL_GUARDED_BY(mutex_);
  int puts_left_ ABSL_GUARDED_BY(mutex_) = -1;
};

}  // namespace ds::federated
