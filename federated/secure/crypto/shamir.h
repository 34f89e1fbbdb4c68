// Shamir's secret sharing (1979), byte by byte over GF(2^8) with AES's polynomial x^8 + x^4 + x^3 +
// x + 1: any `threshold` shares give the secret, fewer say nothing about it. Secrets go through
// arithmetic without tables and branches; which shares there are (their points) is public.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ds::federated::secure {

constexpr int kMostShares = 255;  // points 1..255

// GF(2^8); exposed for its test vectors.
uint8_t FieldMultiply(uint8_t a, uint8_t b);
uint8_t FieldInverse(uint8_t a);  // of 0: 0

// Shares of `secret` (any length) at the points 1..shares. 1 <= threshold <= shares <= kMostShares.
// `random`: (threshold - 1) · secret.size() random bytes, the polynomials' coefficients.
std::vector<std::string> Share(absl::string_view secret, int threshold, int shares,
                               absl::string_view random);

// Puts secrets together from the shares at one set of points, as many as the threshold.
class Recovery {
 public:
  // Points are distinct and not 0.
  explicit Recovery(absl::Span<const uint8_t> points);
  // shares[i] at point i of the constructor's, all of one length.
  std::string Secret(absl::Span<const absl::string_view> shares) const;

 private:
  std::vector<uint8_t> weights_;  // Lagrange's, at 0
};

}  // namespace ds::federated::secure
