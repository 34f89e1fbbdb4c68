// The sites' subscriptions: who is there, and where situations go.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "federated/wire/service.h"

namespace ds::federated {

// One subscription's receiver. Nothing more is delivered once Close has returned.
class Watcher {
 public:
  explicit Watcher(std::function<void(const Situation&)> changed) : changed_(std::move(changed)) {}
  void Deliver(const Situation& situation) {
    MutexLock lock(mutex_);
    if (changed_ != nullptr) changed_(situation);
  }
  void Close() {
    MutexLock lock(mutex_);
    changed_ = nullptr;
  }

 private:
  Mutex mutex_;
  std::function<void(const Situation&)> changed_ ABSL_GUARDED_BY(mutex_);
};

// Of the aggregator's own thread.
class Watchers {
 public:
  void Add(const std::string& site, std::shared_ptr<Watcher> watcher) {
    by_site_[site].push_back(std::move(watcher));
  }
  void Remove(const std::string& site, const std::shared_ptr<Watcher>& watcher) {
    const auto found = by_site_.find(site);
    if (found == by_site_.end()) return;
    std::erase(found->second, watcher);
    if (found->second.empty()) by_site_.erase(found);
  }
  bool Has(const std::string& site) const { return by_site_.contains(site); }
  void Deliver(const std::string& site, const Situation& situation) const {
    const auto found = by_site_.find(site);
    if (found == by_site_.end()) return;
    for (const auto& watcher : found->second) watcher->Deliver(situation);
  }
  std::vector<std::string> Sites() const {
    std::vector<std::string> sites;
    for (const auto& [site, watchers] : by_site_) sites.push_back(site);
    return sites;
  }

 private:
  std::map<std::string, std::vector<std::shared_ptr<Watcher>>> by_site_;
};

}  // namespace ds::federated
