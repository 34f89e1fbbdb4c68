#include "federated/pki/certificate.h"

#include <openssl/pem.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/pki/issue.h"
#include "federated/pki/openssl.h"
#include "federated/pki/verify.h"

namespace ds::federated {
namespace {

constexpr size_t kLongestName = 63;

}  // namespace

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
