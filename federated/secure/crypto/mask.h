// Masks on integers: keystreams of AES-256-CTR (NIST SP 800-38A) added to or taken from values
// modulo 2^bits, in the values' natural width and block by block, so that no mask is ever whole in
// memory.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "federated/secure/crypto/crypto.h"
#include "federated/update/integers.h"

namespace ds::federated::secure {

struct MaskKey {
  Secret key;         // of one mask only: its counter begins at 0
  bool take = false;  // taken from the values, not added
};

// Value i gets the little-endian word i of every key's stream, words of values.width() bytes.
void AddMasks(absl::Span<const MaskKey> keys, IntegerVector& values);

// out = the key's stream from its first byte on; for test vectors, with the first counter block.
void Keystream(const Secret& key, const std::array<uint8_t, 16>& counter, absl::Span<uint8_t> out);

}  // namespace ds::federated::secure
