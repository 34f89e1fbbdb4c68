#include "federated/simulate/memory_vault.h"

#include "absl/strings/str_cat.h"

namespace ds::federated {

absl::Status MemoryVault::Put(const std::string& name, absl::string_view value) {
  MutexLock lock(mutex_);
  values_[name] = std::string(value);
  return absl::OkStatus();
}

absl::StatusOr<std::string> MemoryVault::Get(const std::string& name) const {
  MutexLock lock(mutex_);
  const auto found = values_.find(name);
  if (found == values_.end()) return absl::NotFoundError(absl::StrCat("no value '", name, "'"));
  return found->second;
}

absl::Status MemoryVault::Remove(const std::string& name) {
  MutexLock lock(mutex_);
  values_.erase(name);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> MemoryVault::Names() const {
  MutexLock lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [name, value] : values_) names.push_back(name);
  return names;
}

}  // namespace ds::federated
