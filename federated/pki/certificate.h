// X.509 certificates as this project uses them (RFC 5280), and who a certificate says that its
// holder is: the subject's common name is the site, and a URI among the alternative names,
// downstream://ROLE/SITE, its role. Keys are of P-256, signatures ECDSA with SHA-256.
// docs/federated-pki.md.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "federated/pki/x509/site_name.h"
#include "federated/wire/service.h"

namespace ds::federated {

constexpr char kSiteRole[] = "site";
constexpr char kOperatorRole[] = "operator";
constexpr char kAggregatorRole[] = "aggregator";

struct CertificateFacts {
  std::string site;    // of the URI, and equal to the common name; empty: an authority's
  std::string role;    // of the URI
  std::string serial;  // hexadecimal, lower-case
  absl::Time not_before, not_after;
  std::string fingerprint;         // SHA-256 of the whole certificate, 64 hexadecimal digits
  std::vector<std::string> hosts;  // DNS names and IP addresses that it is for
  std::string issuer;              // common name

  // Half of its life: sites ask for the next one from then on, and are given it.
  absl::Time RenewableFrom() const { return not_before + (not_after - not_before) / 2; }
};

// Of the first certificate in `pem`. InvalidArgument: not readable, or its names contradict each
// other.
absl::StatusOr<CertificateFacts> ReadCertificate(absl::string_view pem);

// Whose connection it is: `pem` is the certificate that the handshake has verified.
// PermissionDenied where it names no site and role.
absl::StatusOr<Caller> PeerIdentity(absl::string_view pem);

// `certificate` was issued by `authority` (both PEM), is in force at `now` and has `role`: "site"
// and "operator" for those who dial out, "aggregator" for whom they dial. PermissionDenied says
// which of it is not so; InvalidArgument: not readable.
absl::Status CheckCertificate(absl::string_view certificate, absl::string_view authority,
                              absl::string_view role, absl::Time now);

// A new private key of P-256, PEM (PKCS #8).
absl::StatusOr<std::string> MakeKey();
// PKCS #10, PEM: asks for a certificate of `site` and `role` for `key`'s public half.
absl::StatusOr<std::string> MakeSigningRequest(absl::string_view key, const std::string& site,
                                               const std::string& role);

}  // namespace ds::federated
