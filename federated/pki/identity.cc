#include "federated/pki/identity.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/status.h"
#include "federated/pki/verify.h"
#include "federated/pki/x509/openssl.h"

namespace ds::federated {
namespace {

constexpr size_t kLongestSignature = 80;  // bytes: ECDSA of P-256 as DER takes 72 at most

class Identity final : public FileSiteIdentity {
 public:
  Identity(Credentials credentials, IdentityOptions options)
      : credentials_(std::move(credentials)), options_(std::move(options)) {}

  absl::Status Load() {
    DS_ASSIGN_OR_RETURN(key_, ParseKey(credentials_.key));
    DS_ASSIGN_OR_RETURN(authority_, ParseCertificate(credentials_.authority));
    DS_ASSIGN_OR_RETURN(const CertificatePtr own, ParseCertificate(credentials_.certificate));
    DS_ASSIGN_OR_RETURN(facts_, Facts(own.get()));
    return CheckIssued(own.get(), facts_, authority_.get(), facts_.role, options_.clock());
  }

  const std::string& site() const override { return facts_.site; }
  const std::string& certificate() const override { return credentials_.certificate; }
  const CertificateFacts& facts() const override { return facts_; }

  absl::StatusOr<std::string> Sign(absl::string_view message) const override {
    const DigestContextPtr context(EVP_MD_CTX_new());
    std::string signature(kLongestSignature, '\0');
    size_t size = signature.size();
    if (context == nullptr ||
        EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) != 1 ||
        EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                       reinterpret_cast<const unsigned char*>(message.data()), message.size()) != 1)
      return OpenSslStatus(absl::StatusCode::kInternal, "cannot sign");
    signature.resize(size);
    return signature;
  }

  absl::Status Verify(const std::string& site, const std::string& certificate,
                      absl::string_view message, absl::string_view signature) const override {
    CertificateFacts facts;
    DS_ASSIGN_OR_RETURN(const CertificatePtr theirs, Check(certificate, kSiteRole, facts));
    if (facts.site != site) {
      return absl::PermissionDeniedError(absl::StrCat("the certificate ", facts.serial, " is of '",
                                                      facts.site, "', not of '", site, "'"));
    }
    const DigestContextPtr context(EVP_MD_CTX_new());
    EVP_PKEY* const key = X509_get0_pubkey(theirs.get());
    const bool right =
        context != nullptr && key != nullptr &&
        EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
        EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(signature.data()),
                         signature.size(), reinterpret_cast<const unsigned char*>(message.data()),
                         message.size()) == 1;
    ERR_clear_error();
    if (right) return absl::OkStatus();
    return absl::PermissionDeniedError(
        absl::StrCat("the signature is not one of '", site, "' over this message"));
  }

  absl::StatusOr<Caller> Identify(const std::string& certificate) const override {
    DS_ASSIGN_OR_RETURN(Caller caller, PeerIdentity(certificate));
    CertificateFacts facts;
    DS_RETURN_IF_ERROR(Check(certificate, caller.role, facts).status());
    return caller;
  }

 private:
  absl::StatusOr<CertificatePtr> Check(const std::string& certificate, absl::string_view role,
                                       CertificateFacts& facts) const {
    auto theirs = ParseCertificate(certificate);
    if (!theirs.ok()) return absl::PermissionDeniedError(theirs.status().message());
    auto read = Facts(theirs->get());
    if (!read.ok()) return absl::PermissionDeniedError(read.status().message());
    facts = *std::move(read);
    DS_RETURN_IF_ERROR(CheckIssued(theirs->get(), facts, authority_.get(), role, options_.clock()));
    if (options_.is_revoked && options_.is_revoked(facts.serial)) {
      return absl::PermissionDeniedError(
          absl::StrCat("the certificate of '", facts.site, "' (", facts.serial, ") is revoked"));
    }
    return theirs;
  }

  const Credentials credentials_;
  const IdentityOptions options_;
  KeyPtr key_;
  CertificatePtr authority_;
  CertificateFacts facts_;
};

}  // namespace

absl::StatusOr<Credentials> ReadCredentials(const std::string& path) {
  DS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  auto parts = ParseCredentials(text);
  if (!parts.ok()) return Annotate(parts.status(), path);
  return parts;
}

absl::StatusOr<Credentials> ParseCredentials(absl::string_view text) {
  DS_ASSIGN_OR_RETURN(const KeyPtr key, ParseKey(text));
  DS_ASSIGN_OR_RETURN(const std::vector<CertificatePtr> certificates, ParseCertificates(text));
  if (certificates.size() != 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("an identity has two certificates, its own and the authority's, not ",
                     certificates.size()));
  }
  if (X509_check_private_key(certificates[0].get(), key.get()) != 1) {
    return OpenSslStatus(absl::StatusCode::kInvalidArgument,
                         "the private key is not the one of the first certificate");
  }
  Credentials credentials;
  DS_ASSIGN_OR_RETURN(credentials.key, KeyPem(key.get()));
  DS_ASSIGN_OR_RETURN(credentials.certificate, CertificatePem(certificates[0].get()));
  DS_ASSIGN_OR_RETURN(credentials.authority, CertificatePem(certificates[1].get()));
  return credentials;
}

absl::Status WriteCredentials(const std::string& path, const Credentials& credentials) {
  return WritePrivateFileAtomically(
      path, absl::StrCat(credentials.key, credentials.certificate, credentials.authority));
}

absl::StatusOr<std::unique_ptr<FileSiteIdentity>> FileSiteIdentity::Create(
    const Credentials& credentials, const IdentityOptions& options) {
  auto identity = std::make_unique<Identity>(credentials, options);
  DS_RETURN_IF_ERROR(identity->Load());
  return identity;
}

absl::StatusOr<std::unique_ptr<FileSiteIdentity>> FileSiteIdentity::Open(
    const std::string& path, const IdentityOptions& options) {
  DS_ASSIGN_OR_RETURN(const Credentials credentials, ReadCredentials(path));
  auto identity = Create(credentials, options);
  if (!identity.ok()) return Annotate(identity.status(), path);
  return identity;
}

}  // namespace ds::federated
