// The primitives of secure aggregation, all OpenSSL's: random bytes, SHA-256 over fields, HKDF,
// X25519, Ed25519 and AES-256-GCM. Thread-safe. A call that cannot fail but for want of memory, or
// where the library's configuration forbids the algorithm, aborts.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ds::federated::secure {

constexpr int kKeyBytes = 32;        // of every key, seed, hash and share here
constexpr int kSignatureBytes = 64;  // Ed25519
constexpr int kSealBytes = 16;       // that GCM's tag adds
constexpr int kSealNonceBytes = 12;

using Bytes32 = std::array<uint8_t, kKeyBytes>;
using Signature = std::array<uint8_t, kSignatureBytes>;

// 32 bytes that are overwritten when they go.
class Secret {
 public:
  Secret() : bytes_{} {}
  explicit Secret(const Bytes32& bytes) : bytes_(bytes) {}
  Secret(const Secret&) = default;
  Secret& operator=(const Secret&) = default;
  ~Secret();
  const Bytes32& bytes() const { return bytes_; }
  Bytes32& bytes() { return bytes_; }

 private:
  Bytes32 bytes_;
};

// Overwrites what a string or buffer held.
void Wipe(absl::Span<uint8_t> bytes);
void Wipe(std::string& bytes);

// The processor's and the kernel's randomness, for secrets.
void FillRandom(absl::Span<uint8_t> out);
void FillRandomBytes(absl::Span<std::byte> out);  // the same, as a RandomSource
Secret RandomSecret();

absl::string_view View(absl::Span<const uint8_t> bytes);
inline absl::string_view View(const Secret& secret) { return View(secret.bytes()); }

// SHA-256 over a label and fields, each with its length before it, so that no two lists of fields
// are the same bytes and no hash of one purpose is one of another.
Bytes32 HashFields(absl::string_view label, std::initializer_list<absl::string_view> fields);
// Takes the same time wherever they differ.
bool SameBytes(absl::string_view a, absl::string_view b);

// RFC 5869 with SHA-256.
void Hkdf(absl::string_view key, absl::string_view salt, absl::string_view info,
          absl::Span<uint8_t> out);
Secret HkdfSecret(absl::string_view key, absl::string_view salt, absl::string_view info);

// RFC 7748.
Bytes32 X25519Public(const Secret& key);
// One private key and many public ones: making the key ready takes as long as an agreement.
class X25519Key {
 public:
  explicit X25519Key(const Secret& key);
  ~X25519Key();
  // InvalidArgument for a public key of small order, which gives the same secret to everybody.
  absl::StatusOr<Secret> Agree(const Bytes32& their_public) const;

 private:
  struct Held;
  std::unique_ptr<Held> held_;
};

// RFC 8032.
Bytes32 Ed25519Public(const Secret& key);
Signature Ed25519Sign(const Secret& key, absl::string_view message);
bool Ed25519Verify(const Bytes32& public_key, absl::string_view message,
                   const Signature& signature);

// AES-256-GCM, tag of 16 bytes behind the ciphertext. `nonce`: kSealNonceBytes, never twice under
// one key.
std::string Seal(const Secret& key, absl::string_view nonce, absl::string_view bound,
                 absl::string_view plain);
// DataLoss where key, nonce, `bound` or bytes are not what they were sealed with.
absl::StatusOr<std::string> Unseal(const Secret& key, absl::string_view nonce,
                                   absl::string_view bound, absl::string_view sealed);

}  // namespace ds::federated::secure
