// What sites, roles and authorities may be called.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace ds::federated {

// A name of letters, digits, '.', '_' and '-' that begins with a letter or a digit, 63 characters
// at most: it is part of file names, URIs and certificates. InvalidArgument says so.
absl::Status CheckSiteName(absl::string_view site);

}  // namespace ds::federated
