// Certificates that are parsed already, held against the authority. Only this room's sources read
// it.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "federated/pki/certificate.h"
#include "federated/pki/x509/openssl.h"

namespace ds::federated {

absl::StatusOr<CertificateFacts> Facts(X509* certificate);
// As CheckCertificate.
absl::Status CheckIssued(X509* certificate, const CertificateFacts& facts, X509* authority,
                         absl::string_view role, absl::Time now);

}  // namespace ds::federated
