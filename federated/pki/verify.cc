#include "federated/pki/verify.h"

#include <openssl/err.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/hash/sha256.h"
#include "base/status.h"
#include "federated/pki/wall_time.h"
#include "federated/pki/x509/names.h"

namespace ds::federated {
namespace {

absl::StatusOr<absl::Time> ReadTime(const ASN1_TIME* time) {
  tm broken_down = {};
  if (ASN1_TIME_to_tm(time, &broken_down) != 1)
    return OpenSslStatus(absl::StatusCode::kInvalidArgument, "its dates cannot be read");
  return absl::FromTM(broken_down, absl::UTCTimeZone());
}

absl::StatusOr<std::string> SerialText(X509* certificate) {
  const BigNumberPtr number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
  char* const text = number == nullptr ? nullptr : BN_bn2hex(number.get());
  if (text == nullptr)
    return OpenSslStatus(absl::StatusCode::kInvalidArgument, "its serial number cannot be read");
  std::string serial = absl::AsciiStrToLower(text);
  OPENSSL_free(text);
  return serial;
}

absl::StatusOr<std::string> Fingerprint(X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  if (size <= 0) return OpenSslStatus(absl::StatusCode::kInvalidArgument, "it cannot be encoded");
  std::string digest =
      Sha256Hex(absl::string_view(reinterpret_cast<const char*>(der), static_cast<size_t>(size)));
  OPENSSL_free(der);
  return digest;
}

// OpenSSL's verdict in words, with the mend.
std::string Verdict(int error, const CertificateFacts& facts, const CertificateFacts& authority,
                    absl::Time now) {
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return absl::StrCat("has expired on ", DateText(facts.not_after),
                          ": enrol again with a new token (ds_pki token)");
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return absl::StrCat("is not in force before ", DateText(facts.not_before), ", and it is ",
                          DateText(now), " here: set this machine's clock");
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return "is signed by itself and not by the authority: enrol with a token (ds_pki token)";
    case X509_V_ERR_INVALID_PURPOSE:
      return "was not issued for this purpose";
    default:
      return absl::StrCat("was not issued by the authority with the fingerprint ",
                          authority.fingerprint, ", but by '", facts.issuer, "' (",
                          X509_verify_cert_error_string(error), ")");
  }
}

// The same where it is the authority's own certificate that is not in force.
std::string AuthoritysVerdict(int error, const CertificateFacts& authority, absl::Time now) {
  return absl::StrCat(
      "cannot be checked, since the authority's own certificate, in force from ",
      DateText(authority.not_before), " to ", DateText(authority.not_after), ", is not at ",
      DateText(now), " (", X509_verify_cert_error_string(error),
      "): set this machine's clock, or make a new authority (ds_pki init) and enrol anew");
}

absl::Status CheckChain(X509* certificate, const CertificateFacts& facts, X509* authority,
                        bool dials_out, absl::Time now) {
  const StorePtr store(X509_STORE_new());
  const StoreContextPtr context(X509_STORE_CTX_new());
  if (store == nullptr || context == nullptr || X509_STORE_add_cert(store.get(), authority) != 1 ||
      X509_STORE_CTX_init(context.get(), store.get(), certificate, nullptr) != 1)
    return OpenSslStatus(absl::StatusCode::kInternal, "cannot prepare a certificate's check");
  X509_VERIFY_PARAM* const rules = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(rules, absl::ToTimeT(now));
  X509_VERIFY_PARAM_set_purpose(rules,
                                dials_out ? X509_PURPOSE_SSL_CLIENT : X509_PURPOSE_SSL_SERVER);
  const int verdict = X509_verify_cert(context.get());
  ERR_clear_error();
  if (verdict == 1) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(const CertificateFacts ours, Facts(authority));
  const int error = X509_STORE_CTX_get_error(context.get());
  const bool authoritys = X509_STORE_CTX_get_error_depth(context.get()) > 0;
  return absl::PermissionDeniedError(authoritys ? AuthoritysVerdict(error, ours, now)
                                                : Verdict(error, facts, ours, now));
}

}  // namespace

absl::StatusOr<CertificateFacts> Facts(X509* certificate) {
  CertificateFacts facts;
  DS_ASSIGN_OR_RETURN(facts.serial, SerialText(certificate));
  DS_ASSIGN_OR_RETURN(facts.fingerprint, Fingerprint(certificate));
  DS_ASSIGN_OR_RETURN(facts.not_before, ReadTime(X509_get0_notBefore(certificate)));
  DS_ASSIGN_OR_RETURN(facts.not_after, ReadTime(X509_get0_notAfter(certificate)));
  facts.issuer = CommonName(X509_get_issuer_name(certificate));
  const NamesPtr list(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  ERR_clear_error();  // no such extension is one
  DS_ASSIGN_OR_RETURN(AlternativeNames names, ReadNames(list.get()));
  facts.site = std::move(names.site);
  facts.role = std::move(names.role);
  facts.hosts = std::move(names.hosts);
  const std::string subject = CommonName(X509_get_subject_name(certificate));
  if (!facts.site.empty() && subject != facts.site) {
    return absl::InvalidArgumentError(
        absl::StrCat("its subject is '", subject, "' but its URI names '", facts.site, "'"));
  }
  return facts;
}

absl::Status CheckIssued(X509* certificate, const CertificateFacts& facts, X509* authority,
                         absl::string_view role, absl::Time now) {
  const std::string whose =
      absl::StrCat("the certificate of '", facts.site, "' (", facts.serial, ")");
  const absl::Status chain =
      CheckChain(certificate, facts, authority, /*dials_out=*/role != kAggregatorRole, now);
  if (!chain.ok()) return absl::Status(chain.code(), absl::StrCat(whose, " ", chain.message()));
  if (facts.role != role) {
    return absl::PermissionDeniedError(
        absl::StrCat(whose, " has the role '", facts.role, "', not '", role, "'"));
  }
  return absl::OkStatus();
}

}  // namespace ds::federated
