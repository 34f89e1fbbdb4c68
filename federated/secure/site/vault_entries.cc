#include "federated/secure/site/vault_entries.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/secure/crypto/crypto.h"

namespace ds::federated::secure {

VaultEntries::VaultEntries(const std::string& run, std::shared_ptr<Vault> vault)
    : prefix_(absl::StrCat("secure.", run, ".")), vault_(std::move(vault)) {}

absl::Status VaultEntries::Put(const std::string& name, absl::string_view value) {
  std::string entry = absl::StrCat(View(HashFields("entry", {prefix_, name, value})), value);
  const absl::Status status = vault_->Put(prefix_ + name, entry);
  Wipe(entry);
  return Annotate(status, absl::StrCat("storing ", name, " in the site's vault"));
}

absl::StatusOr<std::string> VaultEntries::Get(const std::string& name) const {
  DS_ASSIGN_OR_RETURN(std::string entry, vault_->Get(prefix_ + name));
  const absl::string_view bytes = entry;
  if (bytes.size() < kKeyBytes ||
      !SameBytes(bytes.substr(0, kKeyBytes),
                 View(HashFields("entry", {prefix_, name, bytes.substr(kKeyBytes)}))))
    return absl::DataLossError(
        absl::StrCat("the site's vault is damaged: its entry ", prefix_, name,
                     " does not fit its checksum; leave the run and join a new one"));
  return entry.substr(kKeyBytes);
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
