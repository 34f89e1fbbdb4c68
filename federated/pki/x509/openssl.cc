#include "federated/pki/x509/openssl.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/hash/sha256.h"
#include "base/status.h"

namespace ds::federated {
namespace {

constexpr size_t kLongestPem = 64 << 10;  // bytes
constexpr size_t kMostCertificates = 8;
constexpr char kCurve[] = "prime256v1";

absl::Status CheckCurve(EVP_PKEY* key) {
  char curve[64] = "";
  size_t length = 0;
  if (EVP_PKEY_is_a(key, "EC") != 1 ||
      EVP_PKEY_get_group_name(key, curve, sizeof(curve), &length) != 1 ||
      absl::string_view(curve) != kCurve) {
    return absl::InvalidArgumentError(
        "the key is not one of the curve P-256: make it with ds_agent enrol, or with "
        "openssl ecparam -name prime256v1 -genkey -noout");
  }
  return absl::OkStatus();
}

// What PEM_read_bio_* finds no block of is not a fault of OpenSSL's own.
absl::Status NotPem(absl::string_view what) {
  return OpenSslStatus(absl::StatusCode::kInvalidArgument,
                       absl::StrCat("this is no ", what, " in PEM form"));
}

}  // namespace

absl::Status OpenSslStatus(absl::StatusCode code, absl::string_view what) {
  std::string message(what);
  while (const unsigned long error = ERR_get_error()) {  // NOLINT(google-runtime-int): OpenSSL's
    const char* const reason = ERR_reason_error_string(error);
    const std::string words = reason != nullptr ? reason : absl::StrCat("error ", error);
    if (!absl::StrContains(message, words)) absl::StrAppend(&message, ": ", words);
  }
  return absl::Status(code, message);
}

BioPtr ReadBio(absl::string_view text) {
  if (text.size() > kLongestPem) return nullptr;
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string BioText(BIO* bio) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

int NoPassword(char*, int, int, void*) { return -1; }

absl::StatusOr<CertificatePtr> ParseCertificate(absl::string_view pem) {
  const BioPtr bio = ReadBio(pem);
  if (bio == nullptr) return NotPem("certificate");
  CertificatePtr certificate(PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr));
  if (certificate == nullptr) return NotPem("certificate");
  return certificate;
}

absl::StatusOr<std::vector<CertificatePtr>> ParseCertificates(absl::string_view pem) {
  const BioPtr bio = ReadBio(pem);
  if (bio == nullptr) return NotPem("list of certificates");
  std::vector<CertificatePtr> certificates;
  while (certificates.size() < kMostCertificates) {
    CertificatePtr certificate(PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr));
    if (certificate == nullptr) break;
    certificates.push_back(std::move(certificate));
  }
  if (certificates.empty()) return NotPem("certificate");
  ERR_clear_error();  // the end of the list is one
  return certificates;
}

absl::StatusOr<std::string> CertificatePem(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr || PEM_write_bio_X509(bio.get(), certificate) != 1)
    return OpenSslStatus(absl::StatusCode::kInternal, "cannot write a certificate");
  return BioText(bio.get());
}

absl::StatusOr<KeyPtr> ParseKey(absl::string_view pem) {
  const BioPtr bio = ReadBio(pem);
  if (bio == nullptr) return NotPem("private key");
  KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassword, nullptr));
  if (key == nullptr) return NotPem("private key (without a password)");
  DS_RETURN_IF_ERROR(CheckCurve(key.get()));
  return key;
}

absl::StatusOr<std::string> KeyPem(EVP_PKEY* key) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr ||
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return OpenSslStatus(absl::StatusCode::kInternal, "cannot write a private key");
  return BioText(bio.get());
}

absl::StatusOr<RequestPtr> ParseRequest(absl::string_view pem) {
  const BioPtr bio = ReadBio(pem);
  if (bio == nullptr) return NotPem("certificate request");
  RequestPtr request(PEM_read_bio_X509_REQ(bio.get(), nullptr, NoPassword, nullptr));
  if (request == nullptr) return NotPem("certificate request");
  EVP_PKEY* const key = X509_REQ_get0_pubkey(request.get());
  if (key == nullptr) {
    return OpenSslStatus(absl::StatusCode::kInvalidArgument,
                         "the certificate request's public key cannot be read");
  }
  DS_RETURN_IF_ERROR(CheckCurve(key));
  if (X509_REQ_verify(request.get(), key) != 1) {
    return OpenSslStatus(absl::StatusCode::kInvalidArgument,
                         "the certificate request is not signed by its own key");
  }
  return request;
}

absl::StatusOr<std::string> KeyDigest(EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  if (size <= 0) return OpenSslStatus(absl::StatusCode::kInternal, "cannot encode a public key");
  std::string digest =
      Sha256Hex(absl::string_view(reinterpret_cast<const char*>(der), static_cast<size_t>(size)));
  OPENSSL_free(der);
  return digest;
}

std::string CommonName(const X509_NAME* name) {
  const int index = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (index < 0 || X509_NAME_get_index_by_NID(name, NID_commonName, index) >= 0) return "";
  unsigned char* text = nullptr;
  const int size =
      ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, index)));
  if (size < 0) {
    ERR_clear_error();
    return "";
  }
  std::string result(reinterpret_cast<const char*>(text), static_cast<size_t>(size));
  OPENSSL_free(text);
  return result;
}

}  // namespace ds::federated
