#include "federated/pki/authority/authority.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/hash/sha256.h"
#include "base/status.h"
#include "federated/pki/authority/authority_folder.h"
#include "federated/pki/authority/folder_lock.h"
#include "federated/pki/certificate.h"
#include "federated/pki/identity.h"
#include "federated/pki/revocation.h"
#include "federated/pki/token.h"
#include "federated/pki/x509/hex.h"
#include "federated/pki/x509/issue.h"

namespace ds::federated {
namespace {

constexpr absl::Duration kLongestToken = absl::Hours(24 * 30);
constexpr size_t kMostRenewals = 8;  // of one certificate: a site that lost what it got
constexpr int kIdBytes = 8, kSecretBytes = 16, kSerialBytes = 16;

// Sixteen bytes that follow from what the certificate is for: the same request after a lost answer
// finds the certificate that was made. The first byte keeps the length, whatever the digest is.
std::string SerialOf(const std::string& origin, const std::string& key_digest) {
  std::string digest = Sha256Hex(absl::StrCat("downstream serial\n", origin, "\n", key_digest));
  digest.resize(2 * kSerialBytes);
  digest[0] = '4';
  return digest;
}

absl::Status CheckRole(const std::string& role) {
  if (role == kSiteRole || role == kOperatorRole) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("there is no role '", absl::CHexEscape(role), "': site or operator"));
}

// Callers cannot mend the authority's disk, but may come again.
absl::Status Stored(const absl::Status& status) {
  if (status.ok()) return status;
  return absl::UnavailableError(absl::StrCat(
      "the authority cannot write down what it did, so it did nothing: ", status.message(),
      "; try again later"));
}

absl::Status CheckRequested(X509_REQ* request, const std::string& site, const std::string& role,
                            absl::string_view whose) {
  DS_ASSIGN_OR_RETURN(const AlternativeNames asked, RequestedNames(request));
  const std::string subject = CommonName(X509_REQ_get_subject_name(request));
  if (asked.site == site && asked.role == role && subject == site) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat(whose, " is of ", role, " '", site, "', but the request names ", asked.role,
                   " '", asked.site.empty() ? absl::CHexEscape(subject) : asked.site, "'"));
}

class FileAuthority final : public Authority {
 public:
  FileAuthority(AuthorityFolder folder, AuthorityOptions options)
      : folder_(std::move(folder)), options_(std::move(options)) {}

  absl::Status Load();

  const std::string& certificate() const override { return pem_; }
  const std::string& fingerprint() const override { return fingerprint_; }
  absl::StatusOr<std::string> IssueToken(const std::string& site, const std::string& role,
                                         absl::Duration valid_for) override;
  absl::StatusOr<EnrolReply> Enrol(const EnrolRequest& request) override;
  absl::StatusOr<EnrolReply> Renew(const Caller& caller, const RenewRequest& request) override;
  absl::Status IssueServer(const std::string& name, const std::vector<std::string>& hosts) override;
  absl::StatusOr<std::vector<std::string>> Revoke(const std::string& site_or_serial) override;
  absl::StatusOr<std::vector<IssuedCertificate>> Certificates() const override;
  absl::StatusOr<std::vector<IssuedToken>> Tokens() const override;

 private:
  // `record` but for its certificate, which is made for `key` and written down.
  absl::Status Issue(const std::string& serial, CertificateRecord record, EVP_PKEY* key,
                     CertificateOrder::Kind kind, std::vector<std::string> hosts);
  absl::StatusOr<TokenRecord> FindToken(const EnrolmentToken& token) const;
  absl::StatusOr<EnrolReply> Reply(const std::string& serial) const;
  absl::StatusOr<std::set<std::string>> Revoked() const;
  absl::StatusOr<std::vector<std::string>> SerialsOf(const std::string& site_or_serial) const;
  // How many there were.
  absl::StatusOr<int64_t> WithdrawTokens(const std::string& site) const;
  absl::StatusOr<std::unique_ptr<FileLock>> Lock() const {
    return LockAuthority(folder_.path(), kLockPatience);
  }

  const AuthorityFolder folder_;
  const AuthorityOptions options_;
  CertificatePtr certificate_;
  KeyPtr key_;
  std::string pem_, fingerprint_;
  absl::Time not_after_;
};

absl::Status FileAuthority::Load() {
  DS_ASSIGN_OR_RETURN(pem_, ReadFile(folder_.CertificateFile()));
  DS_ASSIGN_OR_RETURN(certificate_, ParseCertificate(pem_));
  DS_ASSIGN_OR_RETURN(const std::string key, ReadFile(folder_.KeyFile()));
  DS_ASSIGN_OR_RETURN(key_, ParseKey(key));
  if (X509_check_private_key(certificate_.get(), key_.get()) != 1) {
    return OpenSslStatus(
        absl::StatusCode::kInvalidArgument,
        absl::StrCat(folder_.KeyFile(), " is not the key of ", folder_.CertificateFile()));
  }
  DS_ASSIGN_OR_RETURN(const CertificateFacts facts, ReadCertificate(pem_));
  fingerprint_ = facts.fingerprint;
  not_after_ = facts.not_after;
  return absl::OkStatus();
}

absl::StatusOr<std::string> FileAuthority::IssueToken(const std::string& site,
                                                      const std::string& role,
                                                      absl::Duration valid_for) {
  DS_RETURN_IF_ERROR(CheckSiteName(site));
  DS_RETURN_IF_ERROR(CheckRole(role));
  if (valid_for < absl::Seconds(1) || valid_for > kLongestToken)
    return absl::InvalidArgumentError("a token is valid for 1 second to 30 days");
  EnrolmentToken token;
  DS_ASSIGN_OR_RETURN(token.id, RandomHex(kIdBytes));
  DS_ASSIGN_OR_RETURN(token.secret, RandomHex(kSecretBytes));
  token.fingerprint = fingerprint_;
  const absl::Time now = options_.clock();
  DS_ASSIGN_OR_RETURN(const auto lock, Lock());
  DS_RETURN_IF_ERROR(folder_.Put(token.id, TokenRecord{.site = site,
                                                       .role = role,
                                                       .secret_digest = Sha256Hex(token.secret),
                                                       .issued = now,
                                                       .expires = now + valid_for}));
  return token.Text();
}

absl::StatusOr<TokenRecord> FileAuthority::FindToken(const EnrolmentToken& token) const {
  if (token.fingerprint != fingerprint_) {
    return absl::PermissionDeniedError(absl::StrCat(
        "the token is of another authority (", token.fingerprint, "), not of this one (",
        fingerprint_, "): ask for a token of this federation"));
  }
  auto record = folder_.Token(token.id);
  const std::string digest = Sha256Hex(token.secret);
  // One answer to both, so that nobody learns which tokens there are.
  if (absl::IsNotFound(record.status()) ||
      (record.ok() &&
       CRYPTO_memcmp(record->secret_digest.data(), digest.data(), digest.size()) != 0)) {
    return absl::PermissionDeniedError(
        "the token is not known, or was withdrawn: ask for a new one (ds_pki token)");
  }
  if (!record.ok()) return Stored(record.status());
  return record;
}

absl::StatusOr<EnrolReply> FileAuthority::Reply(const std::string& serial) const {
  const auto record = folder_.Certificate(serial);
  if (!record.ok()) return Stored(record.status());
  DS_ASSIGN_OR_RETURN(const std::set<std::string> revoked, Revoked());
  if (revoked.count(serial) > 0) {
    return absl::PermissionDeniedError(
        absl::StrCat("the certificate ", serial, " of '", record->site, "' is revoked"));
  }
  return EnrolReply{.certificates = record->certificate, .authority = pem_};
}

absl::StatusOr<EnrolReply> FileAuthority::Enrol(const EnrolRequest& request) {
  DS_ASSIGN_OR_RETURN(const EnrolmentToken token, EnrolmentToken::Parse(request.token));
  // Whoever has no token costs no signature and holds no lock.
  DS_RETURN_IF_ERROR(FindToken(token).status());
  DS_ASSIGN_OR_RETURN(const RequestPtr asked, ParseRequest(request.signing_request));
  EVP_PKEY* const key = X509_REQ_get0_pubkey(asked.get());
  DS_ASSIGN_OR_RETURN(const std::string key_digest, KeyDigest(key));

  DS_ASSIGN_OR_RETURN(const auto lock, Lock());
  DS_ASSIGN_OR_RETURN(TokenRecord record, FindToken(token));
  DS_RETURN_IF_ERROR(CheckRequested(asked.get(), record.site, record.role, "the token"));
  if (record.key_digest == key_digest) return Reply(record.serial);
  if (!record.key_digest.empty()) {
    return absl::PermissionDeniedError(
        absl::StrCat("the token of '", record.site,
                     "' has been used already, for another key: if that was not this site, revoke "
                     "it (ds_pki revoke ",
                     record.serial, "); then ask for a new token"));
  }
  if (options_.clock() >= record.expires) {
    return absl::PermissionDeniedError(absl::StrCat("the token has expired on ",
                                                    DateText(record.expires),
                                                    ": ask for a new one (ds_pki token)"));
  }
  record.key_digest = key_digest;
  record.serial = SerialOf(absl::StrCat("token ", token.id), key_digest);
  DS_RETURN_IF_ERROR(Issue(record.serial,
                           {.site = record.site, .role = record.role, .key_digest = key_digest},
                           key, CertificateOrder::Kind::kClient, {}));
  // Spent from here on, and before anybody has the certificate.
  DS_RETURN_IF_ERROR(Stored(folder_.Put(token.id, record)));
  return Reply(record.serial);
}

absl::StatusOr<EnrolReply> FileAuthority::Renew(const Caller& caller, const RenewRequest& request) {
  const absl::Time now = options_.clock();
  DS_RETURN_IF_ERROR(CheckRole(caller.role));
  DS_RETURN_IF_ERROR(CheckCertificate(caller.certificate, pem_, caller.role, now));
  DS_ASSIGN_OR_RETURN(const CertificateFacts facts, ReadCertificate(caller.certificate));
  DS_ASSIGN_OR_RETURN(const RequestPtr asked, ParseRequest(request.signing_request));
  DS_RETURN_IF_ERROR(CheckRequested(asked.get(), facts.site, facts.role, "the certificate"));
  EVP_PKEY* const key = X509_REQ_get0_pubkey(asked.get());
  DS_ASSIGN_OR_RETURN(const std::string key_digest, KeyDigest(key));

  DS_ASSIGN_OR_RETURN(const auto lock, Lock());
  DS_RETURN_IF_ERROR(Reply(facts.serial).status());  // known and not revoked
  DS_ASSIGN_OR_RETURN(CertificateRecord parent, folder_.Certificate(facts.serial));
  const std::string serial = SerialOf(absl::StrCat("renewal ", facts.serial), key_digest);
  const bool known = std::count(parent.renewals.begin(), parent.renewals.end(), serial) > 0;
  if (known) return Reply(serial);
  const absl::Time half = facts.RenewableFrom();
  if (now < half) {
    return absl::FailedPreconditionError(
        absl::StrCat("the certificate is renewed from ", DateText(half), " on, half of its life"));
  }
  if (parent.renewals.size() >= kMostRenewals) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the certificate ", facts.serial, " has been renewed ", kMostRenewals,
                     " times: use one of those, or enrol with a new token (ds_pki token)"));
  }
  DS_RETURN_IF_ERROR(Issue(
      serial,
      {.site = facts.site, .role = facts.role, .key_digest = key_digest, .parent = facts.serial},
      key, CertificateOrder::Kind::kClient, {}));
  parent.renewals.push_back(serial);
  DS_RETURN_IF_ERROR(Stored(folder_.Put(facts.serial, parent)));
  return Reply(serial);
}

absl::Status FileAuthority::Issue(const std::string& serial, CertificateRecord record,
                                  EVP_PKEY* key, CertificateOrder::Kind kind,
                                  std::vector<std::string> hosts) {
  const absl::Time now = options_.clock();
  const absl::Duration life =
      kind == CertificateOrder::Kind::kServer ? options_.server_life : options_.certificate_life;
  if (now >= not_after_) {
    return absl::FailedPreconditionError(
        absl::StrCat("the authority's own certificate has expired on ", DateText(not_after_),
                     ": make a new authority (ds_pki init) and enrol every site anew"));
  }
  const CertificateOrder order = {
      .subject = record.site,
      .serial = serial,
      .not_before = now - kBackdated,
      .not_after = std::min(now + life, not_after_),
      .names = {.site = record.site, .role = record.role, .hosts = std::move(hosts)},
      .kind = kind};
  DS_ASSIGN_OR_RETURN(const CertificatePtr made,
                      MakeCertificate(order, key, certificate_.get(), key_.get()));
  DS_ASSIGN_OR_RETURN(record.certificate, CertificatePem(made.get()));
  return Stored(folder_.Put(serial, record));
}

absl::Status FileAuthority::IssueServer(const std::string& name,
                                        const std::vector<std::string>& hosts) {
  DS_RETURN_IF_ERROR(CheckSiteName(name));
  std::vector<std::string> wanted = hosts;
  if (wanted.empty()) {
    DS_ASSIGN_OR_RETURN(const Credentials old, ReadCredentials(ServerFile(folder_.path())));
    DS_ASSIGN_OR_RETURN(const CertificateFacts facts, ReadCertificate(old.certificate));
    wanted = facts.hosts;
  }
  DS_ASSIGN_OR_RETURN(const std::string key_text, MakeKey());
  DS_ASSIGN_OR_RETURN(const KeyPtr key, ParseKey(key_text));
  DS_ASSIGN_OR_RETURN(const std::string key_digest, KeyDigest(key.get()));
  const std::string serial = SerialOf("server", key_digest);
  DS_ASSIGN_OR_RETURN(const auto lock, Lock());
  DS_RETURN_IF_ERROR(Issue(serial,
                           {.site = name, .role = kAggregatorRole, .key_digest = key_digest},
                           key.get(), CertificateOrder::Kind::kServer, std::move(wanted)));
  DS_ASSIGN_OR_RETURN(const CertificateRecord record, folder_.Certificate(serial));
  return WriteCredentials(ServerFile(folder_.path()),
                          {.certificate = record.certificate, .key = key_text, .authority = pem_});
}

absl::StatusOr<std::set<std::string>> FileAuthority::Revoked() const {
  auto text = ReadFile(folder_.RevocationFile());
  if (!text.ok()) return Stored(text.status());
  return ParseRevocations(*text);
}

absl::StatusOr<std::vector<std::string>> FileAuthority::SerialsOf(
    const std::string& site_or_serial) const {
  std::vector<std::string> found;
  const std::string serial = absl::AsciiStrToLower(site_or_serial);
  if (IsHex(serial, 2 * kSerialBytes) && folder_.Certificate(serial).ok()) {
    found.push_back(serial);
    for (size_t i = 0; i < found.size(); ++i) {  // grows: renewals have renewals
      DS_ASSIGN_OR_RETURN(const CertificateRecord record, folder_.Certificate(found[i]));
      found.insert(found.end(), record.renewals.begin(), record.renewals.end());
    }
    return found;
  }
  DS_ASSIGN_OR_RETURN(const std::vector<std::string> serials, folder_.Serials());
  for (const std::string& candidate : serials) {
    DS_ASSIGN_OR_RETURN(const CertificateRecord record, folder_.Certificate(candidate));
    if (record.site == site_or_serial) found.push_back(candidate);
  }
  return found;
}

absl::StatusOr<int64_t> FileAuthority::WithdrawTokens(const std::string& site) const {
  DS_ASSIGN_OR_RETURN(const std::vector<std::string> ids, folder_.TokenIds());
  int64_t withdrawn = 0;
  for (const std::string& id : ids) {
    DS_ASSIGN_OR_RETURN(const TokenRecord record, folder_.Token(id));
    if (record.site != site || !record.key_digest.empty()) continue;
    DS_RETURN_IF_ERROR(folder_.RemoveToken(id));
    ++withdrawn;
  }
  return withdrawn;
}

absl::StatusOr<std::vector<std::string>> FileAuthority::Revoke(const std::string& site_or_serial) {
  DS_ASSIGN_OR_RETURN(const auto lock, Lock());
  DS_ASSIGN_OR_RETURN(const std::vector<std::string> serials, SerialsOf(site_or_serial));
  DS_ASSIGN_OR_RETURN(const std::set<std::string> revoked, Revoked());
  std::vector<AuthorityFolder::Revocation> lines;
  std::vector<std::string> taken;
  for (const std::string& serial : serials) {
    if (revoked.count(serial) > 0) continue;
    DS_ASSIGN_OR_RETURN(const CertificateRecord record, folder_.Certificate(serial));
    lines.push_back({serial, record.site});
    taken.push_back(serial);
  }
  if (!lines.empty()) DS_RETURN_IF_ERROR(folder_.AddRevocations(lines, options_.clock()));
  DS_ASSIGN_OR_RETURN(const int64_t withdrawn, WithdrawTokens(site_or_serial));
  if (serials.empty() && withdrawn == 0) {
    return absl::NotFoundError(absl::StrCat(
        "there is no certificate with the serial number, and no certificate or unused token of the "
        "site '",
        absl::CHexEscape(site_or_serial), "': ds_pki list shows what there is"));
  }
  return taken;
}

absl::StatusOr<std::vector<IssuedCertificate>> FileAuthority::Certificates() const {
  DS_ASSIGN_OR_RETURN(const std::set<std::string> revoked, Revoked());
  DS_ASSIGN_OR_RETURN(const std::vector<std::string> serials, folder_.Serials());
  std::vector<IssuedCertificate> issued;
  for (const std::string& serial : serials) {
    DS_ASSIGN_OR_RETURN(const CertificateRecord record, folder_.Certificate(serial));
    DS_ASSIGN_OR_RETURN(const CertificateFacts facts, ReadCertificate(record.certificate));
    issued.push_back({record.site, record.role, serial, facts.not_before, facts.not_after,
                      revoked.count(serial) > 0});
  }
  return issued;
}

absl::StatusOr<std::vector<IssuedToken>> FileAuthority::Tokens() const {
  DS_ASSIGN_OR_RETURN(const std::vector<std::string> ids, folder_.TokenIds());
  std::vector<IssuedToken> issued;
  for (const std::string& id : ids) {
    DS_ASSIGN_OR_RETURN(const TokenRecord record, folder_.Token(id));
    issued.push_back({id, record.site, record.role, record.expires, !record.key_digest.empty()});
  }
  return issued;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Authority>> Authority::Open(const std::string& folder,
                                                           const AuthorityOptions& options) {
  auto authority = std::make_unique<FileAuthority>(AuthorityFolder(folder), options);
  const absl::Status loaded = authority->Load();
  if (!loaded.ok()) {
    return Annotate(loaded, absl::StrCat("the authority in ", folder,
                                         " cannot be opened (ds_pki init makes one)"));
  }
  return authority;
}

std::string ServerFile(const std::string& folder) { return absl::StrCat(folder, "/server.pem"); }

std::string RevocationFile(const std::string& folder) {
  return AuthorityFolder(folder).RevocationFile();
}

}  // namespace ds::federated
