#include "federated/secure/site/vault_entries.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

namespace ds::federated::secure {

VaultEntries::VaultEntries(const std::string& run, std::shared_ptr<Vault> vault)
    : prefix_(absl::StrCat("secure.", run, ".")), vault_(std::move(vault)) {}

absl::Status VaultEntries::PutAll(absl::Span<const VaultValue> others,
                                  std::initializer_list<VaultValue> entries) {
  std::vector<VaultValue> values(others.begin(), others.end());
  std::vector<std::string> names;
  for (const auto& [name, value] : entries) {
    values.push_back({prefix_ + name, value});
    names.push_back(name);
  }
  return Annotate(vault_->PutAll(values),
                  absl::StrCat("storing ", absl::StrJoin(names, ", "), " in the site's vault"));
}

absl::StatusOr<std::string> VaultEntries::Get(const std::string& name) const {
  return vault_->Get(prefix_ + name);
}

absl::Status VaultEntries::Remove(const std::string& name) {
  return Annotate(vault_->Remove(prefix_ + name),
                  absl::StrCat("removing ", name, " from the site's vault"));
}

absl::StatusOr<std::vector<std::string>> VaultEntries::Names() const {
  DS_ASSIGN_OR_RETURN(const std::vector<std::string> all, vault_->Names());
  std::vector<std::string> names;
  for (const std::string& name : all) {
    if (absl::StartsWith(name, prefix_)) names.push_back(name.substr(prefix_.size()));
  }
  return names;
}

}  // namespace ds::federated::secure
