// What the machine's checks of records have in common.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "federated/round/records.h"

namespace ds::federated {

inline bool Contains(const std::vector<std::string>& sorted, const std::string& site) {
  return std::binary_search(sorted.begin(), sorted.end(), site);
}

// Sorted, without doubles, each `known`.
template <typename Known>
absl::Status CheckSites(const std::vector<std::string>& sites, const Known& known,
                        const char* known_as) {
  for (size_t i = 0; i < sites.size(); ++i) {
    if (i > 0 && !(sites[i - 1] < sites[i])) {
      return absl::InvalidArgumentError("the list of sites is not sorted");
    }
    if (!known(sites[i])) {
      return absl::InvalidArgumentError(absl::StrCat("site '", sites[i], "' ", known_as));
    }
  }
  return absl::OkStatus();
}

inline bool IsSiteName(const std::string& name) {
  return !name.empty() && name.size() <= 128 &&
         std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c <= '~'; });
}

inline absl::Status CheckBlob(const BlobRef& blob) {
  if (blob.size < 0 ||
      (!blob.bytes.empty() && static_cast<int64_t>(blob.bytes.size()) != blob.size)) {
    return absl::InvalidArgumentError("a blob's bytes are not as many as its size says");
  }
  return absl::OkStatus();
}

inline absl::Status Must(bool holds, absl::string_view message) {
  return holds ? absl::OkStatus() : absl::FailedPreconditionError(message);
}

}  // namespace ds::federated
