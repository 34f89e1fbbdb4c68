#include "federated/pki/x509/hex.h"

#include <openssl/rand.h>

#include "absl/strings/escaping.h"
#include "base/hex.h"
#include "federated/pki/x509/openssl.h"

namespace ds::federated {

bool IsHex(absl::string_view text, size_t digits) {
  return text.size() == digits && IsLowerHex(text);
}

absl::StatusOr<std::string> RandomHex(int bytes) {
  std::string raw(static_cast<size_t>(bytes), '\0');
  if (RAND_priv_bytes(reinterpret_cast<unsigned char*>(raw.data()), bytes) != 1)
    return OpenSslStatus(absl::StatusCode::kInternal, "there are no random numbers to be had");
  return absl::BytesToHexString(raw);
}

}  // namespace ds::federated
