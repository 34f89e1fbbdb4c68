#include "federated/pki/x509/issue.h"

#include <openssl/err.h>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"

namespace ds::federated {
namespace {

constexpr long kVersion3 = 2;  // NOLINT(google-runtime-int): X509_set_version's
constexpr size_t kSerialDigits = 32;

absl::Status Failed(absl::string_view what) {
  return OpenSslStatus(absl::StatusCode::kInternal, absl::StrCat("cannot write ", what));
}

absl::Status SetName(X509_NAME* name, const std::string& common_name) {
  const auto* const text = reinterpret_cast<const unsigned char*>(common_name.data());
  return X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, text,
                                    static_cast<int>(common_name.size()), -1, 0) == 1
             ? absl::OkStatus()
             : Failed("a subject");
}

absl::Status SetSerial(X509* certificate, const std::string& serial) {
  DS_CHECK(serial.size() == kSerialDigits) << serial;
  BIGNUM* raw = nullptr;
  BN_hex2bn(&raw, serial.c_str());
  const BigNumberPtr number(raw);
  const bool set =
      raw != nullptr && BN_to_ASN1_INTEGER(raw, X509_get_serialNumber(certificate)) != nullptr;
  return set ? absl::OkStatus() : Failed("a serial number");
}

absl::Status SetDates(X509* certificate, absl::Time not_before, absl::Time not_after) {
  const bool set =
      ASN1_TIME_set(X509_getm_notBefore(certificate), absl::ToTimeT(not_before)) != nullptr &&
      ASN1_TIME_set(X509_getm_notAfter(certificate), absl::ToTimeT(not_after)) != nullptr;
  return set ? absl::OkStatus() : Failed("dates");
}

absl::Status AddExtension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  const bool added = extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
  return added ? absl::OkStatus() : Failed(absl::StrCat("the extension ", OBJ_nid2sn(nid)));
}

absl::Status AddExtensions(X509* certificate, X509* issuer, CertificateOrder::Kind kind) {
  const bool authority = kind == CertificateOrder::Kind::kAuthority;
  const auto add = [&](int nid, const char* value) {
    return AddExtension(certificate, issuer, nid, value);
  };
  DS_RETURN_IF_ERROR(
      add(NID_basic_constraints, authority ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE"));
  DS_RETURN_IF_ERROR(
      add(NID_key_usage, authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature"));
  DS_RETURN_IF_ERROR(add(NID_subject_key_identifier, "hash"));
  if (authority) return absl::OkStatus();
  DS_RETURN_IF_ERROR(add(NID_authority_key_identifier, "keyid:always"));
  return add(NID_ext_key_usage,
             kind == CertificateOrder::Kind::kServer ? "serverAuth" : "clientAuth");
}

}  // namespace

absl::StatusOr<CertificatePtr> MakeCertificate(const CertificateOrder& order, EVP_PKEY* key,
                                               X509* issuer, EVP_PKEY* issuer_key) {
  CertificatePtr made(X509_new());
  X509* const certificate = made.get();
  if (certificate == nullptr || X509_set_version(certificate, kVersion3) != 1 ||
      X509_set_pubkey(certificate, key) != 1)
    return Failed("a certificate");
  DS_RETURN_IF_ERROR(SetSerial(certificate, order.serial));
  DS_RETURN_IF_ERROR(SetDates(certificate, order.not_before, order.not_after));
  DS_RETURN_IF_ERROR(SetName(X509_get_subject_name(certificate), order.subject));
  X509* const signer = issuer != nullptr ? issuer : certificate;
  if (X509_set_issuer_name(certificate, X509_get_subject_name(signer)) != 1)
    return Failed("an issuer");
  DS_RETURN_IF_ERROR(AddExtensions(certificate, signer, order.kind));
  if (!order.names.site.empty() || !order.names.hosts.empty()) {
    DS_ASSIGN_OR_RETURN(const ExtensionPtr names, NamesExtension(order.names));
    if (X509_add_ext(certificate, names.get(), -1) != 1) return Failed("names");
  }
  if (X509_sign(certificate, issuer_key, EVP_sha256()) <= 0) return Failed("a signature");
  return made;
}

absl::StatusOr<RequestPtr> MakeRequest(EVP_PKEY* key, const std::string& site,
                                       const std::string& role) {
  RequestPtr request(X509_REQ_new());
  if (request == nullptr || X509_REQ_set_version(request.get(), 0) != 1 ||
      X509_REQ_set_pubkey(request.get(), key) != 1)
    return Failed("a certificate request");
  DS_RETURN_IF_ERROR(SetName(X509_REQ_get_subject_name(request.get()), site));
  DS_ASSIGN_OR_RETURN(ExtensionPtr names, NamesExtension({.site = site, .role = role}));
  STACK_OF(X509_EXTENSION)* const extensions = sk_X509_EXTENSION_new_null();
  const bool added = extensions != nullptr && sk_X509_EXTENSION_push(extensions, names.get()) > 0 &&
                     X509_REQ_add_extensions(request.get(), extensions) == 1;
  sk_X509_EXTENSION_free(extensions);
  if (!added) return Failed("a request's names");
  if (X509_REQ_sign(request.get(), key, EVP_sha256()) <= 0) return Failed("a signature");
  return request;
}

absl::StatusOr<AlternativeNames> RequestedNames(X509_REQ* request) {
  STACK_OF(X509_EXTENSION)* const extensions = X509_REQ_get_extensions(request);
  const NamesPtr names(static_cast<GENERAL_NAMES*>(
      X509V3_get_d2i(extensions, NID_subject_alt_name, nullptr, nullptr)));
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  ERR_clear_error();  // no such extension is one
  return ReadNames(names.get());
}

}  // namespace ds::federated
