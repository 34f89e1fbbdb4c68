#include "federated/secure/crypto/crypto.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <memory>

#include "base/check.h"

namespace ds::federated::secure {
namespace {

constexpr char kDomain[] = "downstream secure aggregation 1";

struct Free {
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  void operator()(EVP_PKEY_CTX* p) const { EVP_PKEY_CTX_free(p); }
  void operator()(EVP_MD_CTX* p) const { EVP_MD_CTX_free(p); }
  void operator()(EVP_KDF_CTX* p) const { EVP_KDF_CTX_free(p); }
  void operator()(EVP_CIPHER_CTX* p) const { EVP_CIPHER_CTX_free(p); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

Owned<EVP_PKEY> Private(int type, const Secret& key) {
  Owned<EVP_PKEY> pkey(EVP_PKEY_new_raw_private_key(type, nullptr, key.bytes().data(), kKeyBytes));
  DS_CHECK(pkey != nullptr) << "OpenSSL offers no X25519 or Ed25519";
  return pkey;
}

Owned<EVP_PKEY> Public(int type, const Bytes32& key) {
  Owned<EVP_PKEY> pkey(EVP_PKEY_new_raw_public_key(type, nullptr, key.data(), kKeyBytes));
  DS_CHECK(pkey != nullptr) << "OpenSSL offers no X25519 or Ed25519";
  return pkey;
}

Bytes32 PublicOf(int type, const Secret& key) {
  const auto pkey = Private(type, key);
  Bytes32 out;
  size_t size = out.size();
  DS_CHECK(EVP_PKEY_get_raw_public_key(pkey.get(), out.data(), &size) == 1 && size == out.size());
  return out;
}

const uint8_t* Data(absl::string_view bytes) {
  return reinterpret_cast<const uint8_t*>(bytes.data());
}

void Digest(EVP_MD_CTX* context, absl::string_view field) {
  uint8_t length[8];
  for (int i = 0; i < 8; ++i) length[i] = static_cast<uint8_t>(uint64_t{field.size()} >> (8 * i));
  DS_CHECK(EVP_DigestUpdate(context, length, sizeof(length)) == 1 &&
           EVP_DigestUpdate(context, field.data(), field.size()) == 1);
}

}  // namespace

Secret::~Secret() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

void Wipe(absl::Span<uint8_t> bytes) { OPENSSL_cleanse(bytes.data(), bytes.size()); }
void Wipe(std::string& bytes) { OPENSSL_cleanse(bytes.data(), bytes.size()); }

void FillRandom(absl::Span<uint8_t> out) {
  DS_CHECK(RAND_priv_bytes(out.data(), static_cast<int>(out.size())) == 1)
      << "the machine gives no random bytes";
}

void FillRandomBytes(absl::Span<std::byte> out) {
  FillRandom({reinterpret_cast<uint8_t*>(out.data()), out.size()});
}

Secret RandomSecret() {
  Secret secret;
  FillRandom(absl::MakeSpan(secret.bytes()));
  return secret;
}

absl::string_view View(absl::Span<const uint8_t> bytes) {
  return absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Bytes32 HashFields(absl::string_view label, std::initializer_list<absl::string_view> fields) {
  const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
  DS_CHECK(context != nullptr && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1);
  Digest(context.get(), kDomain);
  Digest(context.get(), label);
  for (absl::string_view field : fields) Digest(context.get(), field);
  Bytes32 out;
  DS_CHECK(EVP_DigestFinal_ex(context.get(), out.data(), nullptr) == 1);
  return out;
}

bool SameBytes(absl::string_view a, absl::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

void Hkdf(absl::string_view key, absl::string_view salt, absl::string_view info,
          absl::Span<uint8_t> out) {
  // Fetched once: a fetch takes longer than the derivation.
  static EVP_KDF* const kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  DS_CHECK(kdf != nullptr) << "OpenSSL offers no HKDF";
  const Owned<EVP_KDF_CTX> context(EVP_KDF_CTX_new(kdf));
  const auto octets = [](const char* name, absl::string_view bytes) {
    return OSSL_PARAM_construct_octet_string(name, const_cast<char*>(bytes.data()), bytes.size());
  };
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      octets(OSSL_KDF_PARAM_KEY, key), octets(OSSL_KDF_PARAM_SALT, salt),
      octets(OSSL_KDF_PARAM_INFO, info), OSSL_PARAM_construct_end()};
  DS_CHECK(context != nullptr &&
           EVP_KDF_derive(context.get(), out.data(), out.size(), parameters) == 1);
}

Secret HkdfSecret(absl::string_view key, absl::string_view salt, absl::string_view info) {
  Secret secret;
  Hkdf(key, salt, info, absl::MakeSpan(secret.bytes()));
  return secret;
}

Bytes32 X25519Public(const Secret& key) { return PublicOf(EVP_PKEY_X25519, key); }

struct X25519Key::Held {
  Owned<EVP_PKEY> pkey;
};

X25519Key::X25519Key(const Secret& key)
    : held_(std::make_unique<Held>(Held{Private(EVP_PKEY_X25519, key)})) {}
X25519Key::~X25519Key() = default;

absl::StatusOr<Secret> X25519Key::Agree(const Bytes32& their_public) const {
  const auto theirs = Public(EVP_PKEY_X25519, their_public);
  const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new(held_->pkey.get(), nullptr));
  Secret shared;
  size_t size = kKeyBytes;
  DS_CHECK(context != nullptr && EVP_PKEY_derive_init(context.get()) == 1);
  if (EVP_PKEY_derive_set_peer(context.get(), theirs.get()) != 1 ||
      EVP_PKEY_derive(context.get(), shared.bytes().data(), &size) != 1)
    return absl::InvalidArgumentError("an X25519 public key of small order");
  return shared;
}

Bytes32 Ed25519Public(const Secret& key) { return PublicOf(EVP_PKEY_ED25519, key); }

Signature Ed25519Sign(const Secret& key, absl::string_view message) {
  const auto pkey = Private(EVP_PKEY_ED25519, key);
  const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
  Signature signature;
  size_t size = signature.size();
  DS_CHECK(context != nullptr &&
           EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, pkey.get()) == 1 &&
           EVP_DigestSign(context.get(), signature.data(), &size, Data(message), message.size()) ==
               1);
  return signature;
}

bool Ed25519Verify(const Bytes32& public_key, absl::string_view message,
                   const Signature& signature) {
  const auto pkey = Public(EVP_PKEY_ED25519, public_key);
  const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
  DS_CHECK(context != nullptr);
  return EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, pkey.get()) == 1 &&
         EVP_DigestVerify(context.get(), signature.data(), signature.size(), Data(message),
                          message.size()) == 1;
}

std::string Seal(const Secret& key, absl::string_view nonce, absl::string_view bound,
                 absl::string_view plain) {
  DS_CHECK(nonce.size() == kSealNonceBytes);
  const Owned<EVP_CIPHER_CTX> context(EVP_CIPHER_CTX_new());
  std::string sealed(plain.size() + kSealBytes, '\0');
  auto* out = reinterpret_cast<uint8_t*>(sealed.data());
  int size = 0;
  DS_CHECK(context != nullptr &&
           EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key.bytes().data(),
                              Data(nonce)) == 1 &&
           EVP_EncryptUpdate(context.get(), nullptr, &size, Data(bound),
                             static_cast<int>(bound.size())) == 1 &&
           EVP_EncryptUpdate(context.get(), out, &size, Data(plain),
                             static_cast<int>(plain.size())) == 1 &&
           EVP_EncryptFinal_ex(context.get(), out + plain.size(), &size) == 1 &&
           EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kSealBytes,
                               out + plain.size()) == 1);
  return sealed;
}

absl::StatusOr<std::string> Unseal(const Secret& key, absl::string_view nonce,
                                   absl::string_view bound, absl::string_view sealed) {
  DS_CHECK(nonce.size() == kSealNonceBytes);
  if (sealed.size() < kSealBytes) return absl::DataLossError("shorter than a seal");
  const absl::string_view cipher = sealed.substr(0, sealed.size() - kSealBytes);
  std::string tag(sealed.substr(cipher.size())), plain(cipher.size(), '\0');
  const Owned<EVP_CIPHER_CTX> context(EVP_CIPHER_CTX_new());
  auto* out = reinterpret_cast<uint8_t*>(plain.data());
  int size = 0;
  DS_CHECK(context != nullptr &&
           EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key.bytes().data(),
                              Data(nonce)) == 1 &&
           EVP_DecryptUpdate(context.get(), nullptr, &size, Data(bound),
                             static_cast<int>(bound.size())) == 1 &&
           EVP_DecryptUpdate(context.get(), out, &size, Data(cipher),
                             static_cast<int>(cipher.size())) == 1 &&
           EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kSealBytes, tag.data()) == 1);
  if (EVP_DecryptFinal_ex(context.get(), out + plain.size(), &size) != 1) {
    Wipe(plain);
    return absl::DataLossError("the seal does not fit");
  }
  return plain;
}

}  // namespace ds::federated::secure
