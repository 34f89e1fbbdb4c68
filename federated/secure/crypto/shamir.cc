#include "federated/secure/crypto/shamir.h"

#include <cstring>

#include "base/check.h"

namespace ds::federated::secure {
namespace {

constexpr uint64_t kLow7 = 0x7f7f7f7f7f7f7f7f, kOnes = 0x0101010101010101;
constexpr uint64_t kReduce = 0x1b;  // x^8 modulo the field's polynomial

// Eight elements a word: times x.
inline uint64_t TimesX(uint64_t a) { return ((a & kLow7) << 1) ^ (((a >> 7) & kOnes) * kReduce); }

// Secrets are worked on in whole words, the last one filled up.
std::vector<uint64_t> Words(absl::string_view bytes) {
  std::vector<uint64_t> words((bytes.size() + 7) / 8);
  std::memcpy(words.data(), bytes.data(), bytes.size());
  return words;
}

// a = a · factor + b, element-wise. The factor is a point or a weight: public.
void MultiplyAdd(absl::Span<uint64_t> a, uint8_t factor, absl::Span<const uint64_t> b) {
  for (size_t i = 0; i < a.size(); ++i) {
    uint64_t power = a[i], sum = b[i];
    for (int bit = 0; bit < 8; ++bit) {
      sum ^= power & (uint64_t{0} - ((factor >> bit) & 1));
      power = TimesX(power);
    }
    a[i] = sum;
  }
}

}  // namespace

uint8_t FieldMultiply(uint8_t a, uint8_t b) {
  uint8_t product = 0;
  for (int bit = 0; bit < 8; ++bit) {
    product = static_cast<uint8_t>(product ^ (a & (0 - ((b >> bit) & 1))));
    a = static_cast<uint8_t>((a << 1) ^ ((a >> 7) * kReduce));
  }
  return product;
}

uint8_t FieldInverse(uint8_t a) {
  // a^254: the squares a^2, a^4, ..., a^128 multiplied.
  uint8_t power = a, product = 1;
  for (int i = 0; i < 7; ++i) {
    power = FieldMultiply(power, power);
    product = FieldMultiply(product, power);
  }
  return product;
}

std::vector<std::string> Share(absl::string_view secret, int threshold, int shares,
                               absl::string_view random) {
  DS_CHECK(threshold >= 1 && threshold <= shares && shares <= kMostShares);
  DS_CHECK(random.size() == static_cast<size_t>(threshold - 1) * secret.size());
  std::vector<std::vector<uint64_t>> coefficients = {Words(secret)};
  for (int i = 1; i < threshold; ++i)
    coefficients.push_back(Words(random.substr((i - 1) * secret.size(), secret.size())));
  std::vector<std::string> out(shares);
  std::vector<uint64_t> sum(coefficients[0].size());
  for (int point = 1; point <= shares; ++point) {
    sum = coefficients.back();
    for (int i = threshold - 2; i >= 0; --i)
      MultiplyAdd(absl::MakeSpan(sum), static_cast<uint8_t>(point), coefficients[i]);
    out[point - 1].assign(reinterpret_cast<const char*>(sum.data()), secret.size());
  }
  return out;
}

Recovery::Recovery(absl::Span<const uint8_t> points) {
  for (uint8_t point : points) {
    DS_CHECK(point != 0);
    uint8_t above = 1, below = 1;
    for (uint8_t other : points) {
      if (other == point) continue;
      above = FieldMultiply(above, other);
      below = FieldMultiply(below, static_cast<uint8_t>(other ^ point));
    }
    weights_.push_back(FieldMultiply(above, FieldInverse(below)));
  }
}

std::string Recovery::Secret(absl::Span<const absl::string_view> shares) const {
  DS_CHECK(shares.size() == weights_.size() && !shares.empty());
  std::vector<uint64_t> sum((shares[0].size() + 7) / 8);
  for (size_t i = 0; i < shares.size(); ++i) {
    DS_CHECK(shares[i].size() == shares[0].size());
    std::vector<uint64_t> share = Words(shares[i]);
    MultiplyAdd(absl::MakeSpan(share), weights_[i], sum);
    sum = std::move(share);
  }
  return std::string(reinterpret_cast<const char*>(sum.data()), shares[0].size());
}

}  // namespace ds::federated::secure
