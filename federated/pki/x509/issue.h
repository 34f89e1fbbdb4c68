// Certificates and requests made and signed. Only this room's sources read it.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "federated/pki/x509/names.h"
#include "federated/pki/x509/openssl.h"

namespace ds::federated {

struct CertificateOrder {
  std::string subject;  // common name
  std::string serial;   // hexadecimal, 16 bytes
  absl::Time not_before, not_after;
  AlternativeNames names;
  enum class Kind { kAuthority, kServer, kClient } kind = Kind::kClient;
};

// Signed by `issuer_key`; `issuer` null: by itself.
absl::StatusOr<CertificatePtr> MakeCertificate(const CertificateOrder& order, EVP_PKEY* key,
                                               X509* issuer, EVP_PKEY* issuer_key);

// PKCS #10 for `site` and `role`, signed by `key`.
absl::StatusOr<RequestPtr> MakeRequest(EVP_PKEY* key, const std::string& site,
                                       const std::string& role);
// What a request asks to be; no names: empty ones.
absl::StatusOr<AlternativeNames> RequestedNames(X509_REQ* request);

}  // namespace ds::federated
