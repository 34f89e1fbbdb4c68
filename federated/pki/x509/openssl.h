// OpenSSL's objects with owners, and its errors as Status. Only this room's sources read it.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ds::federated {

template <auto kFree>
struct OpenSslFree {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, OpenSslFree<EVP_PKEY_free>>;
using DigestContextPtr = std::unique_ptr<EVP_MD_CTX, OpenSslFree<EVP_MD_CTX_free>>;
using CertificatePtr = std::unique_ptr<X509, OpenSslFree<X509_free>>;
using RequestPtr = std::unique_ptr<X509_REQ, OpenSslFree<X509_REQ_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, OpenSslFree<X509_EXTENSION_free>>;
using StorePtr = std::unique_ptr<X509_STORE, OpenSslFree<X509_STORE_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, OpenSslFree<X509_STORE_CTX_free>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, OpenSslFree<GENERAL_NAMES_free>>;
using BioPtr = std::unique_ptr<BIO, OpenSslFree<BIO_free_all>>;
using BigNumberPtr = std::unique_ptr<BIGNUM, OpenSslFree<BN_free>>;
using SslContextPtr = std::unique_ptr<SSL_CTX, OpenSslFree<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, OpenSslFree<SSL_free>>;

// `what`, and the words of this thread's last OpenSSL errors, which are taken off its list.
absl::Status OpenSslStatus(absl::StatusCode code, absl::string_view what);

// A source of bytes that lives no longer than `text`; null where `text` is far longer than any PEM
// file should be.
BioPtr ReadBio(absl::string_view text);
std::string BioText(BIO* bio);
// For OpenSSL's readers: they would ask at the terminal for the password of an encrypted text.
int NoPassword(char* buffer, int size, int writing, void* context);

// The first certificate; all of them (at most 8). InvalidArgument.
absl::StatusOr<CertificatePtr> ParseCertificate(absl::string_view pem);
absl::StatusOr<std::vector<CertificatePtr>> ParseCertificates(absl::string_view pem);
absl::StatusOr<std::string> CertificatePem(X509* certificate);

// A key of P-256; any other is InvalidArgument.
absl::StatusOr<KeyPtr> ParseKey(absl::string_view pem);
// PKCS #8, not encrypted.
absl::StatusOr<std::string> KeyPem(EVP_PKEY* key);
// The request's own signature is right and its key of P-256; else InvalidArgument.
absl::StatusOr<RequestPtr> ParseRequest(absl::string_view pem);

// SHA-256 of the public key (SubjectPublicKeyInfo), 64 lower-case hexadecimal digits.
absl::StatusOr<std::string> KeyDigest(EVP_PKEY* key);
// The subject's common name; empty where there is none or more than one.
std::string CommonName(const X509_NAME* name);

}  // namespace ds::federated
