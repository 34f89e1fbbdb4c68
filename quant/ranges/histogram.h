// How the values of one tensor are distributed, gathered in one pass and in constant memory
// (64 KiB), whatever their number and range.
//
// Bins are equally wide, kBins on each side of 0, the width a power of two. When a value is too
// large for them, the width doubles as often as needed and pairs of bins are merged: every bin of
// the wider histogram is exactly two of the narrower, so the counts are those of the values binned
// with the final width from the start, and depend on neither the order of the values nor on how
// they were split among calls or merged histograms. The value of greatest magnitude lies in the
// outer half of the bins, so that at least kBins / 2 = 2048 bins resolve its side.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace ds {

// Not thread-safe: one a thread, merged at the end.
class Histogram {
 public:
  static constexpr int kBins = 4096;  // on each side of 0
  // Bins are never narrower than the least normal float, 2^-126.
  static constexpr int kMinExponent = -126;

  // What one call of Add saw.
  struct Seen {
    int64_t finite = 0;  // number of finite values, zeros included
    float min = 0;       // of them; 0 where there are none
    float max = 0;
  };

  Histogram();

  // About a nanosecond a value.
  Seen Add(absl::Span<const float> values);

  // Finite values, zeros included. NaN and Inf are counted apart and appear nowhere else.
  int64_t count() const { return count_; }
  // Exact zeros of either sign; they are in no bin.
  int64_t zeros() const;
  int64_t nans() const { return counts_[kNanSlot]; }
  int64_t infinities() const { return counts_[kInfSlot]; }
  // Exact least and greatest finite value; 0 where count() is 0.
  float min() const { return count_ == 0 ? 0 : min_; }
  float max() const { return count_ == 0 ? 0 : max_; }

  // A power of two.
  double bin_width() const;
  // Bin i: the number of values v with i * width <= v < (i + 1) * width, v > 0. kBins of them.
  absl::Span<const int64_t> positive() const { return {counts_.data(), kBins}; }
  // Mirrored, bin i: i * width <= -v < (i + 1) * width, v < 0.
  absl::Span<const int64_t> negative() const { return {counts_.data() + kBins, kBins}; }

 private:
  // Behind the bins. Zeros have four, taken in turn, because adding to one counter again and again
  // waits for the addition before.
  static constexpr int kZeroSlots = 4;
  static constexpr int kZeroSlot = 2 * kBins;
  static constexpr int kNanSlot = kZeroSlot + kZeroSlots;
  static constexpr int kInfSlot = kNanSlot + 1;
  static constexpr int kSlots = kInfSlot + 1;
  static constexpr int kChunk = 1024;

  void AddChunk(absl::Span<const float> values, Seen& seen);
  void Widen(int exponent);
  void Include(const Seen& seen);

  std::vector<int64_t> counts_;
  int exponent_ = kMinExponent;  // the width is 2^exponent_
  int64_t count_ = 0;
  float min_ = 0, max_ = 0;
};

}  // namespace ds
