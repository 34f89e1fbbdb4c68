#include "federated/pki/certificate.h"

#include <openssl/pem.h>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/pki/verify.h"
#include "federated/pki/x509/issue.h"
#include "federated/pki/x509/openssl.h"

namespace ds::federated {

absl::StatusOr<CertificateFacts> ReadCertificate(absl::string_view pem) {
  DS_ASSIGN_OR_RETURN(const CertificatePtr certificate, ParseCertificate(pem));
  auto facts = Facts(certificate.get());
  if (!facts.ok()) return Annotate(facts.status(), "a certificate is refused");
  return facts;
}

absl::StatusOr<Caller> PeerIdentity(absl::string_view pem) {
  auto facts = ReadCertificate(pem);
  if (!facts.ok()) return absl::PermissionDeniedError(facts.status().message());
  if (facts->site.empty()) {
    return absl::PermissionDeniedError(
        "the certificate names no site and role (downstream://ROLE/SITE): it was not issued by "
        "ds_pki");
  }
  return Caller{facts->site, facts->role, std::string(pem), facts->serial};
}

absl::Status CheckCertificate(absl::string_view certificate, absl::string_view authority,
                              absl::string_view role, absl::Time now) {
  DS_ASSIGN_OR_RETURN(const CertificatePtr leaf, ParseCertificate(certificate));
  DS_ASSIGN_OR_RETURN(const CertificatePtr root, ParseCertificate(authority));
  DS_ASSIGN_OR_RETURN(const CertificateFacts facts, Facts(leaf.get()));
  return CheckIssued(leaf.get(), facts, root.get(), role, now);
}

absl::StatusOr<std::string> MakeKey() {
  const KeyPtr key(EVP_EC_gen("P-256"));
  if (key == nullptr) return OpenSslStatus(absl::StatusCode::kInternal, "cannot make a key");
  return KeyPem(key.get());
}

absl::StatusOr<std::string> MakeSigningRequest(absl::string_view key, const std::string& site,
                                               const std::string& role) {
  DS_RETURN_IF_ERROR(CheckSiteName(site));
  DS_RETURN_IF_ERROR(CheckSiteName(role));
  DS_ASSIGN_OR_RETURN(const KeyPtr own, ParseKey(key));
  DS_ASSIGN_OR_RETURN(const RequestPtr request, MakeRequest(own.get(), site, role));
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr || PEM_write_bio_X509_REQ(bio.get(), request.get()) != 1)
    return OpenSslStatus(absl::StatusCode::kInternal, "cannot write a certificate request");
  return BioText(bio.get());
}

}  // namespace ds::federated
