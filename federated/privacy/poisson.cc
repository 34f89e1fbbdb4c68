#include "federated/privacy/poisson.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace ds::federated {
namespace {

using Uint128 = unsigned __int128;

// Weight of the likeliest number: with 2^20 of them the sum stays below 2^128.
constexpr Uint128 kTop = Uint128{1} << 104;

// a * b / c, rounded down; the quotient must fit, and a < 2^112, b < 2^64, c < 2^64.
Uint128 MultiplyDivide(Uint128 a, uint64_t b, uint64_t c) {
  const Uint128 low = Uint128{static_cast<uint64_t>(a)} * b;
  const Uint128 high = (a >> 64) * b + (low >> 64);
  const Uint128 upper = high / c, rest = high % c;
  return (upper << 64) + ((rest << 64) | static_cast<uint64_t>(low)) / c;
}

int BitWidth(Uint128 value) {
  const auto high = static_cast<uint64_t>(value >> 64);
  return high != 0 ? 64 + std::bit_width(high) : std::bit_width(static_cast<uint64_t>(value));
}

}  // namespace

Poisson::Poisson(uint64_t scaled) {
  DS_CHECK(scaled >= 1 && scaled <= kLargest) << scaled;
  // Weights from the mode down and up, each from its neighbour, until they vanish.
  const uint64_t mode = scaled / kFraction;
  std::vector<Uint128> weights;
  Uint128 weight = kTop;
  uint64_t least = mode;
  for (uint64_t k = mode; weight != 0; --k) {
    weights.push_back(weight);
    least = k;
    if (k == 0) break;
    weight = MultiplyDivide(weight, k * kFraction, scaled);
  }
  std::reverse(weights.begin(), weights.end());
  weight = kTop;
  for (uint64_t k = mode + 1;; ++k) {
    weight = MultiplyDivide(weight, scaled, k * kFraction);
    if (weight == 0) break;
    weights.push_back(weight);
  }
  least_ = static_cast<int64_t>(least);
  Uint128 sum = 0;
  for (const Uint128 each : weights) up_to_.push_back(sum += each);
  bits_ = BitWidth(sum - 1);
  guide_bits_ = std::min(bits_, static_cast<int>(std::bit_width(up_to_.size())));
  for (Uint128 i = 0; i < Uint128{1} << guide_bits_; ++i) {
    const auto found = std::upper_bound(up_to_.begin(), up_to_.end(), i << (bits_ - guide_bits_));
    guide_.push_back(static_cast<uint32_t>(found - up_to_.begin()));
  }
}

int64_t Poisson::Draw(RandomWords& random) const {
  const Uint128 mask = (Uint128{1} << bits_) - 1;
  while (true) {
    const Uint128 high = random.Next64();
    const Uint128 drawn = (high << 64 | random.Next64()) & mask;
    if (drawn >= up_to_.back()) continue;
    size_t at = guide_[static_cast<size_t>(drawn >> (bits_ - guide_bits_))];
    while (up_to_[at] <= drawn) ++at;
    return least_ + static_cast<int64_t>(at);
  }
}

}  // namespace ds::federated
