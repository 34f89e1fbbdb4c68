#include "quant/ranges/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace ds {
namespace {

constexpr int32_t kMagnitudeMask = 0x7fffffff;
constexpr int32_t kInfinityBits = 0x7f800000;
constexpr int kLog2Bins = 12;
static_assert(Histogram::kBins == 1 << kLog2Bins);

// All bits where a condition on a float's bits holds, none elsewhere: with these instead of ?: the
// loops below have no branches and become vector instructions. `size` is without the sign.
inline int32_t IfNegative(int32_t bits) { return bits >> 31; }
inline int32_t IfZero(int32_t size) { return (size - 1) >> 31; }
inline int32_t IfFinite(int32_t size) { return (size - kInfinityBits) >> 31; }
inline int32_t IfNan(int32_t size) { return (kInfinityBits - size) >> 31; }
inline int32_t Select(int32_t mask, int32_t a, int32_t b) { return (a & mask) | (b & ~mask); }

// Integers in the order of the floats they are the bits of (but NaN); its own inverse.
inline int32_t Ordered(int32_t bits) { return bits ^ (IfNegative(bits) & kMagnitudeMask); }

// The least exponent whose bins hold a float of these bits, sign apart.
int ExponentFor(int32_t magnitude) {
  const int exponent = (magnitude >> 23) - 127;  // denormals: -127, which is low enough
  return std::max(exponent + 1 - kLog2Bins, Histogram::kMinExponent);
}

}  // namespace

Histogram::Histogram() : counts_(kSlots) {}

Histogram::Seen Histogram::Add(absl::Span<const float> values) {
  Seen seen;
  for (size_t begin = 0; begin < values.size(); begin += kChunk)
    AddChunk(values.subspan(begin, kChunk), seen);
  Include(seen);
  return seen;
}

// Two passes over a chunk: the range first, which may widen the bins, then the counting.
void Histogram::AddChunk(absl::Span<const float> values, Seen& seen) {
  const int count = static_cast<int>(values.size());
  const float* from = values.data();  // a span's [] checks, which keeps loops from being vectorised
  int32_t magnitude = 0;
  int32_t low = std::numeric_limits<int32_t>::max(), high = std::numeric_limits<int32_t>::min();
  for (int i = 0; i < count; ++i) {
    const int32_t bits = std::bit_cast<int32_t>(from[i]);
    const int32_t size = bits & kMagnitudeMask;
    const int32_t finite = IfFinite(size), ordered = Ordered(bits);
    magnitude = std::max(magnitude, size & finite);
    low = std::min(low, Select(finite, ordered, std::numeric_limits<int32_t>::max()));
    high = std::max(high, Select(finite, ordered, std::numeric_limits<int32_t>::min()));
  }
  const int exponent = ExponentFor(magnitude);
  if (exponent > exponent_) Widen(exponent);

  // A product with a power of two is exact, or so small that it belongs to bin 0 anyway.
  const float inverse = std::ldexp(1.0f, -exponent_);
  int32_t slots[kChunk];
  for (int i = 0; i < count; ++i) {
    const int32_t bits = std::bit_cast<int32_t>(from[i]);
    const int32_t size = bits & kMagnitudeMask;
    const int32_t finite = IfFinite(size);
    const float place = std::bit_cast<float>(size & finite) * inverse;
    int32_t slot = static_cast<int32_t>(place) + (IfNegative(bits) & kBins);
    slot = Select(IfZero(size), kZeroSlot + (i & (kZeroSlots - 1)), slot);
    slots[i] = Select(finite, slot, Select(IfNan(size), kNanSlot, kInfSlot));
  }
  const int64_t bad = nans() + infinities();
  int64_t* counts = counts_.data();
  for (int i = 0; i < count; ++i) ++counts[slots[i]];

  const int64_t finite = count - (nans() + infinities() - bad);
  if (finite == 0) return;
  // + 0: no negative zero.
  const float least = std::bit_cast<float>(Ordered(low)) + 0.0f;
  const float greatest = std::bit_cast<float>(Ordered(high)) + 0.0f;
  seen.min = seen.finite == 0 ? least : std::min(seen.min, least);
  seen.max = seen.finite == 0 ? greatest : std::max(seen.max, greatest);
  seen.finite += finite;
}

void Histogram::Include(const Seen& seen) {
  if (seen.finite == 0) return;
  min_ = count_ == 0 ? seen.min : std::min(min_, seen.min);
  max_ = count_ == 0 ? seen.max : std::max(max_, seen.max);
  count_ += seen.finite;
}

void Histogram::Widen(int exponent) {
  const int halvings = std::min(exponent - exponent_, kLog2Bins);
  exponent_ = exponent;
  for (int side = 0; side < 2; ++side) {
    int64_t* bins = counts_.data() + side * kBins;
    for (int i = 1; i < kBins; ++i) {
      const int64_t moved = bins[i];
      bins[i] = 0;
      bins[i >> halvings] += moved;
    }
  }
}

int64_t Histogram::zeros() const {
  int64_t zeros = 0;
  for (int i = 0; i < kZeroSlots; ++i) zeros += counts_[kZeroSlot + i];
  return zeros;
}

double Histogram::bin_width() const { return std::ldexp(1.0, exponent_); }

}  // namespace ds
