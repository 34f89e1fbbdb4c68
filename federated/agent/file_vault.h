// A site's vault (federated/secure/secure_agent.h) as a folder that only its owner may enter: one
// file a value, replaced as a whole and on the disk when Put returns. Each file carries the SHA-256
// of its name and value, so that damage is an error and never another value.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "federated/secure/secure_agent.h"

namespace ds::federated {

// Makes `folder` (mode 0700) where it is not there. FailedPrecondition where others may enter one
// that is. Thread-safe. Names: any bytes, at most 100. Get: DataLoss for a damaged file.
absl::StatusOr<std::unique_ptr<Vault>> OpenFileVault(const std::string& folder);

}  // namespace ds::federated
