// A site's identity over its renewals.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "federated/pki/identity.h"
#include "federated/secure/secure_agent.h"

namespace ds::federated {

// Follows the file. certificate() is the newest one's, and Sign is by the key of the certificate
// that certificate() returned last: what is signed together with a certificate fits it. References
// that certificate() returned stay. A file that has become unreadable, or whose certificate is not
// in force, changes nothing and is complained of. Errors as FileSiteIdentity::Open. Thread-safe,
// but who signs with it is one thread.
absl::StatusOr<std::unique_ptr<SiteIdentity>> FollowIdentity(const std::string& path,
                                                             const IdentityOptions& options = {});

}  // namespace ds::federated
