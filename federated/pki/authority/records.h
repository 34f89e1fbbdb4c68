// What the authority remembers, each a small JSON file. Only this room's sources read it.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace ds::federated {

// tokens/ID.json. Times are whole seconds.
struct TokenRecord {
  std::string site, role;
  std::string secret_digest;  // SHA-256
  absl::Time issued, expires;
  std::string key_digest;  // of the key that it was used for; empty: not used yet
  std::string serial;      // of the certificate that it was used for
};

// certificates/SERIAL.json
struct CertificateRecord {
  std::string site, role;
  std::string key_digest;
  std::string parent;                 // serial of the certificate that it renews; empty: none
  std::string certificate;            // PEM
  std::vector<std::string> renewals;  // serials of those that renew it
};

std::string Encode(const TokenRecord& record);
std::string Encode(const CertificateRecord& record);
// InvalidArgument names the field.
absl::StatusOr<TokenRecord> DecodeToken(absl::string_view text);
absl::StatusOr<CertificateRecord> DecodeCertificate(absl::string_view text);

}  // namespace ds::federated
