// The alternative names of our certificates and requests. Only this room's sources read it.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "federated/pki/x509/openssl.h"

namespace ds::federated {

struct AlternativeNames {
  std::string site, role;          // of the URI downstream://ROLE/SITE; empty: there is none
  std::vector<std::string> hosts;  // DNS names, IP addresses as text
};

// InvalidArgument: two of our URIs, or one that is malformed. Null: no names.
absl::StatusOr<AlternativeNames> ReadNames(const GENERAL_NAMES* names);

// As an extension. `host`s that are IP addresses become such. InvalidArgument: not a host's name.
absl::StatusOr<ExtensionPtr> NamesExtension(const AlternativeNames& names);

}  // namespace ds::federated
