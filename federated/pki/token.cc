#include "federated/pki/token.h"

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "federated/pki/x509/hex.h"

namespace ds::federated {
namespace {

constexpr absl::string_view kVersion = "ds1";
constexpr size_t kIdDigits = 16, kSecretDigits = 32, kFingerprintDigits = 64;

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("the enrolment token is malformed: ", what,
                   "; it has the form ds1.ID.SECRET.FINGERPRINT, as ds_pki token printed it"));
}

}  // namespace

std::string EnrolmentToken::Text() const {
  return absl::StrCat(kVersion, ".", id, ".", secret, ".", fingerprint);
}

absl::StatusOr<EnrolmentToken> EnrolmentToken::Parse(absl::string_view text) {
  const std::vector<absl::string_view> parts =
      absl::StrSplit(absl::StripAsciiWhitespace(text), absl::MaxSplits('.', 4));
  if (parts.size() != 4) return Malformed(absl::StrCat("it has ", parts.size(), " parts, not 4"));
  if (parts[0] != kVersion) return Malformed("it does not begin with 'ds1'");
  if (!IsHex(parts[1], kIdDigits)) return Malformed("its ID is not 16 hexadecimal digits");
  if (!IsHex(parts[2], kSecretDigits)) return Malformed("its secret is not 32 hexadecimal digits");
  if (!IsHex(parts[3], kFingerprintDigits))
    return Malformed("its fingerprint is not 64 hexadecimal digits");
  return EnrolmentToken{std::string(parts[1]), std::string(parts[2]), std::string(parts[3])};
}

}  // namespace ds::federated
