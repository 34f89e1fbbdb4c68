// A vault that lasts as long as the object, for sites that are simulated.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "federated/secure/secure_agent.h"

namespace ds::federated {

// Thread-safe.
class MemoryVault final : public Vault {
 public:
  absl::Status Put(const std::string& name, absl::string_view value) override;
  absl::StatusOr<std::string> Get(const std::string& name) const override;
  absl::Status Remove(const std::string& name) override;
  absl::StatusOr<std::vector<std::string>> Names() const override;

 private:
  mutable Mutex mutex_;
  std::map<std::string, std::string> values_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ds::federated
