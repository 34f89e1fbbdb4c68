#include "federated/pki/site_files.h"

#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/status.h"
#include "federated/pki/certificate.h"
#include "federated/pki/identity.h"
#include "federated/pki/token.h"
#include "federated/pki/x509/openssl.h"

namespace ds::federated {
namespace {

std::string PendingFile(const std::string& folder) { return absl::StrCat(folder, "/pending.key"); }

// Has the pending key become the identity's? (A kill came before it was removed.)
bool IsCertified(const std::string& folder, EVP_PKEY* pending) {
  const auto identity = ReadCredentials(IdentityFile(folder));
  if (!identity.ok()) return false;
  const auto own = ParseKey(identity->key);
  return own.ok() && EVP_PKEY_eq(own->get(), pending) == 1;
}

// NotFound where there is none, or one that is certified.
absl::StatusOr<std::string> PendingKey(const std::string& folder) {
  DS_ASSIGN_OR_RETURN(const std::string text, ReadFile(PendingFile(folder)));
  auto key = ParseKey(text);
  if (!key.ok()) return Annotate(key.status(), PendingFile(folder));
  if (IsCertified(folder, key->get()))
    return absl::NotFoundError(absl::StrCat(PendingFile(folder), " is certified already"));
  return text;
}

absl::Status CheckReply(const Credentials& credentials, absl::string_view fingerprint,
                        const std::string& site, const std::string& role, absl::Time now) {
  DS_ASSIGN_OR_RETURN(const CertificateFacts authority, ReadCertificate(credentials.authority));
  if (authority.fingerprint != fingerprint) {
    return absl::PermissionDeniedError(absl::StrCat(
        "the authority that answered has the fingerprint ", authority.fingerprint,
        ", but the one that is trusted here has ", fingerprint,
        ": somebody else answers at this address, or the token is of another federation"));
  }
  DS_RETURN_IF_ERROR(CheckCertificate(credentials.certificate, credentials.authority, role, now));
  DS_ASSIGN_OR_RETURN(const CertificateFacts own, ReadCertificate(credentials.certificate));
  if (own.site == site) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat("the authority gave a certificate of '", own.site,
                                                  "' where one of '", site, "' was asked for"));
}

// The last attempt ended between the identity's installation and the pending key's removal.
bool WasInstalled(const std::string& folder, absl::string_view fingerprint, const std::string& site,
                  const std::string& role, absl::Time now) {
  const auto text = ReadFile(PendingFile(folder));
  const absl::StatusOr<KeyPtr> key = text.ok() ? ParseKey(*text) : text.status();
  if (!key.ok() || !IsCertified(folder, key->get())) return false;
  const auto identity = ReadCredentials(IdentityFile(folder));
  return identity.ok() && CheckReply(*identity, fingerprint, site, role, now).ok();
}

}  // namespace

std::string IdentityFile(const std::string& folder) {
  return absl::StrCat(folder, "/identity.pem");
}

absl::StatusOr<std::string> PrepareRequest(const std::string& folder, const std::string& site,
                                           const std::string& role) {
  DS_RETURN_IF_ERROR(MakeFolders(folder));
  auto key = PendingKey(folder);
  if (absl::IsNotFound(key.status())) {
    DS_ASSIGN_OR_RETURN(key, MakeKey());
    DS_RETURN_IF_ERROR(WritePrivateFileAtomically(PendingFile(folder), *key));
  }
  if (!key.ok()) return key.status();
  return MakeSigningRequest(*key, site, role);
}

absl::Status InstallCertificate(const std::string& folder, const EnrolReply& reply,
                                absl::string_view fingerprint, const std::string& site,
                                const std::string& role, const WallClock& clock) {
  DS_ASSIGN_OR_RETURN(const std::string key, PendingKey(folder));
  // Parsed as the file will be: what does not fit together is seen now.
  auto credentials =
      ParseCredentials(absl::StrCat(key, "\n", reply.certificates, "\n", reply.authority));
  if (!credentials.ok()) return Annotate(credentials.status(), "the authority's answer is refused");
  DS_RETURN_IF_ERROR(CheckReply(*credentials, fingerprint, site, role, clock()));
  DS_RETURN_IF_ERROR(WriteCredentials(IdentityFile(folder), *credentials));
  FileSystem::Default().RemoveFile(PendingFile(folder)).IgnoreError();  // it is pending no more
  return absl::OkStatus();
}

absl::Status EnrolSite(const std::string& folder, absl::string_view token, const std::string& site,
                       const std::string& role,
                       const std::function<absl::StatusOr<EnrolReply>(const EnrolRequest&)>& send,
                       const WallClock& clock) {
  DS_ASSIGN_OR_RETURN(const EnrolmentToken parsed, EnrolmentToken::Parse(token));
  if (WasInstalled(folder, parsed.fingerprint, site, role, clock())) {
    FileSystem::Default().RemoveFile(PendingFile(folder)).IgnoreError();
    return absl::OkStatus();
  }
  DS_ASSIGN_OR_RETURN(std::string request, PrepareRequest(folder, site, role));
  DS_ASSIGN_OR_RETURN(
      const EnrolReply reply,
      send(EnrolRequest{.token = parsed.Text(), .signing_request = std::move(request)}));
  return InstallCertificate(folder, reply, parsed.fingerprint, site, role, clock);
}

absl::StatusOr<bool> RenewIfDue(
    const std::string& folder,
    const std::function<absl::StatusOr<EnrolReply>(const RenewRequest&)>& send,
    const WallClock& clock) {
  DS_ASSIGN_OR_RETURN(const Credentials own, ReadCredentials(IdentityFile(folder)));
  DS_ASSIGN_OR_RETURN(const CertificateFacts facts, ReadCertificate(own.certificate));
  if (clock() < facts.RenewableFrom()) return false;
  DS_ASSIGN_OR_RETURN(const CertificateFacts authority, ReadCertificate(own.authority));
  DS_ASSIGN_OR_RETURN(std::string request, PrepareRequest(folder, facts.site, facts.role));
  DS_ASSIGN_OR_RETURN(const EnrolReply reply,
                      send(RenewRequest{.signing_request = std::move(request)}));
  DS_RETURN_IF_ERROR(
      InstallCertificate(folder, reply, authority.fingerprint, facts.site, facts.role, clock));
  return true;
}

}  // namespace ds::federated
