// What ds_pki does, each command a function: files in, text out.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "federated/pki/authority/authority.h"

namespace ds::federated {

// `result` is for scripts (standard output), `note` for people (standard error).
struct CommandText {
  std::string result, note;
};

// A new authority, and the aggregator's certificate for `hosts` (at least one).
absl::StatusOr<CommandText> InitCommand(const std::string& folder, const std::string& name,
                                        const std::vector<std::string>& hosts,
                                        const AuthorityOptions& options = {});
// `valid_for` as "24h", "90m".
absl::StatusOr<CommandText> TokenCommand(const std::string& folder, const std::string& site,
                                         const std::string& role, const std::string& valid_for,
                                         const AuthorityOptions& options = {});
absl::StatusOr<CommandText> ListCommand(const std::string& folder,
                                        const AuthorityOptions& options = {});
absl::StatusOr<CommandText> RevokeCommand(const std::string& folder,
                                          const std::string& site_or_serial,
                                          const AuthorityOptions& options = {});
// Empty `hosts`: as before.
absl::StatusOr<CommandText> RenewServerCommand(const std::string& folder,
                                               const std::vector<std::string>& hosts,
                                               const AuthorityOptions& options = {});

// Enrolment by hand, for a site that cannot call the aggregator yet: the site makes a request, the
// authority answers it, the site installs the answer. `reply`: file with the site's and the
// authority's certificates.
absl::StatusOr<CommandText> RequestCommand(const std::string& site_folder, const std::string& site,
                                           const std::string& role, const std::string& request);
absl::StatusOr<CommandText> EnrolCommand(const std::string& folder, const std::string& token,
                                         const std::string& request, const std::string& reply,
                                         const AuthorityOptions& options = {});
absl::StatusOr<CommandText> InstallCommand(const std::string& site_folder, const std::string& site,
                                           const std::string& role, const std::string& token,
                                           const std::string& reply,
                                           const WallClock& clock = MachineClock());

}  // namespace ds::federated
