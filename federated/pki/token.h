// An enrolment token: what a site is given, by a way that is not the network, to get its first
// certificate. "ds1.ID.SECRET.FINGERPRINT": 16, 32 and 64 lower-case hexadecimal digits. The
// fingerprint is the authority's, so that the site knows whom it hands the secret to.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ds::federated {

struct EnrolmentToken {
  std::string id;           // names the authority's record of it
  std::string secret;       // 128 random bits, which the authority keeps only the SHA-256 of
  std::string fingerprint;  // SHA-256 of the authority's certificate

  std::string Text() const;
  // Blanks around it are skipped. InvalidArgument names the part that is wrong, and never shows the
  // secret.
  static absl::StatusOr<EnrolmentToken> Parse(absl::string_view text);
};

}  // namespace ds::federated
