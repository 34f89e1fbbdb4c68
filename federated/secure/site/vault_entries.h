// One run's entries in a site's vault, under names that begin with the run's.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "federated/secure/secure_agent.h"

namespace ds::federated::secure {

class VaultEntries {
 public:
  VaultEntries(const std::string& run, std::shared_ptr<Vault> vault);
  absl::Status Put(const std::string& name, absl::string_view value) {
    return PutAll({}, {{name, value}});
  }
  // As Vault::PutAll: others' values (as they are, under their whole names), then entries.
  absl::Status PutAll(absl::Span<const VaultValue> others,
                      std::initializer_list<VaultValue> entries);
  absl::StatusOr<std::string> Get(const std::string& name) const;  // NotFound, DataLoss
  absl::Status Remove(const std::string& name);
  // Without what the names have in common.
  absl::StatusOr<std::vector<std::string>> Names() const;

 private:
  std::string prefix_;
  std::shared_ptr<Vault> vault_;
};

}  // namespace ds::federated::secure
