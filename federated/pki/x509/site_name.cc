#include "federated/pki/x509/site_name.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace ds::federated {
namespace {

constexpr size_t kLongestName = 63;

}  // namespace

absl::Status CheckSiteName(absl::string_view site) {
  const bool good = !site.empty() && site.size() <= kLongestName &&
                    absl::ascii_isalnum(site.front()) &&
                    std::all_of(site.begin(), site.end(), [](char c) {
                      return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
                    });
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "'", absl::CHexEscape(site.substr(0, kLongestName)),
      "' is no name: 1 to 63 letters, digits, '.', '_' and '-', the first a letter or a digit"));
}

}  // namespace ds::federated
