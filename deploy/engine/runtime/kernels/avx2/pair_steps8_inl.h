// What products of bytes in pairs (pairs8_inl.h) know about a block of tiles: the least input of
// each channel, which is taken off all of them, the range that is left, and with that, for sixteen
// outputs, which steps of the depth may be added as 16 bits, which must stand alone, and which do
// not hold in 16 bits even so.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "deploy/engine/runtime/kernels/avx2/conv8_inl.h"
#include "deploy/engine/runtime/kernels/generic/blocks_inl.h"

namespace ds::engine {
namespace {

constexpr int32_t kPairRows = 5;    // of a tile: ten sums, a vector of weights, four of products
constexpr int64_t kStepBytes = 32;  // four of the depth for up to eight rows
constexpr int32_t kTileRows = kPairRows + kPairRows % 2;

// Bytes of scratch for a depth, with what vectors write behind it.
struct PairPlan {
  explicit PairPlan(int64_t depth) : steps(depth / 4) {}

  int64_t TileBytes() const { return (steps + 4) * kStepBytes; }
  // Of a byte for each of the depth.
  int64_t RangeBytes() const { return RoundUp(steps * 4 + 64, 64); }
  // Of a step's number or bound.
  int64_t OrderBytes() const { return RoundUp(steps * 4 + 64, 64); }

  int64_t steps;
};

// The least and the greatest input for each of the depth in a block's rows so far; then the range.
struct BlockInputs {
  void Reset(const PairPlan& plan) const {
    std::fill_n(least, plan.RangeBytes(), uint8_t{255});
    std::fill_n(range, plan.RangeBytes(), uint8_t{0});
  }

  void Include(const Tile<uint8_t>& tile) const {
    uint8_t *low = least, *high = range;
    for (int32_t tap = 0; tap < tile.taps; ++tap, low += tile.run, high += tile.run) {
      const uint8_t* const* rows = tile.rows + int64_t{tap} * kTilePointers;
      const uint8_t* const last = rows[tile.count - 1];
      for (int32_t k = 0; k < tile.run; k += 32) {
        __m256i least_here = Load256(low + k), most_here = Load256(high + k);
        Unroll<kPairRows>([&](auto r) __attribute__((always_inline)) {
          const __m256i x = Load256((r < tile.count ? rows[r] : last) + k);
          least_here = _mm256_min_epu8(least_here, x);
          most_here = _mm256_max_epu8(most_here, x);
        });
        Store256(low + k, least_here);
        Store256(high + k, most_here);
      }
    }
  }

  // Behind the last one: from the greatest to the range. Whether any least is not 0.
  bool Finish(const PairPlan& plan) const {
    __m256i any = _mm256_setzero_si256();
    for (int64_t k = 0; k < plan.steps * 4; k += 32) {
      const __m256i low = Load256(least + k);
      any = _mm256_or_si256(any, low);
      Store256(range + k, _mm256_sub_epi8(Load256(range + k), low));
    }
    return _mm256_testz_si256(any, any) == 0;
  }

  uint8_t *least, *range;  // [depth]
};

// A tile's inputs less the least: [steps][8 rows][4].
inline void InterleaveTile(const Tile<uint8_t>& tile, const uint8_t* least, char* to) {
  for (int32_t tap = 0; tap < tile.taps; ++tap) {
    const uint8_t* rows[kTileRows];  // the last one again where there are fewer
    for (int32_t r = 0; r < kTileRows; ++r)
      rows[r] = tile.rows[tap * kTilePointers + std::min(r, tile.count - 1)];
    for (int32_t k = 0; k < tile.run; k += 16) {
      const __m128i low = Load128(least + k);
      char* at = to + k / 4 * kStepBytes;
      Unroll<kTileRows / 2>([&](auto pair) __attribute__((always_inline)) {
        const __m128i a = _mm_sub_epi8(Load128(rows[2 * pair] + k), low);
        const __m128i b = _mm_sub_epi8(Load128(rows[2 * pair + 1] + k), low);
        const __m128d first = _mm_castsi128_pd(_mm_unpacklo_epi32(a, b));
        const __m128d last = _mm_castsi128_pd(_mm_unpackhi_epi32(a, b));
        double* place = reinterpret_cast<double*>(at) + pair;
        _mm_storel_pd(place, first);
        _mm_storeh_pd(place + kStepBytes / 8, first);
        _mm_storel_pd(place + 2 * kStepBytes / 8, last);
        _mm_storeh_pd(place + 3 * kStepBytes / 8, last);
      });
    }
    to += tile.run / 4 * kStepBytes;
    least += tile.run;
  }
}

// sums + x * w for a step's words: values 0 and 2 of the four, then 1 and 3.
[[gnu::always_inline]] inline __m256i AddByWords(__m256i sums, __m256i x, __m256i w) {
  const __m256i even = _mm256_and_si256(x, _mm256_set1_epi16(0xff));
  sums = _mm256_add_epi32(sums, _mm256_madd_epi16(even, WordsOf<false, 0>(w)));
  return _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_srli_epi16(x, 8), WordsOf<false, 1>(w)));
}
[[gnu::always_inline]] inline __m256i FourOf(const void* from) {
  return _mm256_castps_si256(_mm256_broadcast_ss(static_cast<const float*>(from)));
}

// How a slice's steps are multiplied in all tiles of a block: `twos` of them two by two, those of a
// pair adjacent in the order, the first `straight` as they come; then `ones` one by one; then
// `words`.
struct SliceSteps {
  // Of scratch: the order, and room that planning needs.
  static int64_t ScratchBytes(const PairPlan& plan) { return 5 * plan.OrderBytes(); }

  SliceSteps(char* scratch, const PairPlan& plan)
      : order(reinterpret_cast<int32_t*>(scratch)),
        bounds_(order + plan.OrderBytes() / 4),
        small_(bounds_ + plan.OrderBytes() / 4),
        large_(small_ + plan.OrderBytes() / 4),
        wide_(large_ + plan.OrderBytes() / 4),
        steps_(static_cast<int32_t>(plan.steps)) {}

  // `lowered`: least inputs have been taken off. Neighbours go together where they can; of the
  // others, large ones with small ones where both bounds together hold. Brings what comes behind
  // the weights, the next panel's, closer.
  void Plan(const BlockInputs& inputs, bool lowered, const Slice2& slice) {
    straight = twos = small_count_ = large_count_ = words = 0;
    const int8_t* weights = slice.weights;
    const int64_t step_bytes = slice.step_bytes;
    int32_t i = 0;
    for (; i + 1 < steps_; i += 2, weights += 2 * step_bytes) {
      FetchBehind(weights, steps_ * step_bytes);
      FetchBehind(weights, (steps_ + 1) * step_bytes);
      const Reach first(inputs.range + i * 4, weights);
      const Reach second(inputs.range + i * 4 + 4, weights + step_bytes);
      if (first.Most(&second) <= kMostOfStep) {
        order[twos] = i, order[twos + 1] = i + 1;
        twos += 2;
        if (twos == i + 2) straight = twos;
      } else {
        Keep(i, first.Most());
        Keep(i + 1, second.Most());
      }
    }
    if (i < steps_) Keep(i, Reach(inputs.range + i * 4, weights).Most());
    Match();
    AddLeast(inputs, lowered, slice);
  }

  int32_t* order;
  int32_t straight = 0, twos = 0, ones = 0, words = 0;  // steps
  alignas(32) int32_t bias[kSlice2];                    // with what least inputs come to

 private:
  static constexpr int32_t kMostOfStep = INT16_MAX - 1;  // INT16_MAX may stand for more

  // For each pair of the depth and channel of a step, the greatest sum of products of either sign,
  // which saturates.
  struct Reach {
    Reach(const uint8_t* range, const int8_t* weights) {
      const __m256i x = FourOf(range), zero = _mm256_setzero_si256();
      Unroll<2>([&](auto v) __attribute__((always_inline)) {
        const __m256i w = Load256(weights + v * 32);
        above[v] = _mm256_maddubs_epi16(x, _mm256_max_epi8(w, zero));
        below[v] = _mm256_maddubs_epi16(x, _mm256_min_epi8(w, zero));
      });
    }

    // The greatest of all, in magnitude; of both steps together.
    int32_t Most(const Reach* second = nullptr) const {
      __m256i most = _mm256_setzero_si256();
      Unroll<2>([&](auto v) __attribute__((always_inline)) {
        const __m256i up = second ? _mm256_adds_epi16(above[v], second->above[v]) : above[v];
        const __m256i down = second ? _mm256_adds_epi16(below[v], second->below[v]) : below[v];
        most = _mm256_max_epu16(most, _mm256_max_epu16(up, _mm256_abs_epi16(down)));
      });
      const __m128i half =
          _mm_max_epu16(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
      const __m128i least = _mm_minpos_epu16(_mm_xor_si128(half, _mm_set1_epi16(-1)));
      return UINT16_MAX - _mm_extract_epi16(least, 0);
    }

    __m256i above[2], below[2];
  };

  void Keep(int32_t step, int32_t bound) {
    bounds_[step] = bound;
    if (bound <= kMostOfStep / 2)
      small_[small_count_++] = step;
    else if (bound <= kMostOfStep)
      large_[large_count_++] = step;
    else
      wide_[words++] = step;
  }

  void Match() {
    int32_t used = 0, alone = 0;
    for (int32_t i = 0; i < large_count_; ++i) {
      const int32_t step = large_[i];
      if (used < small_count_ && bounds_[step] + bounds_[small_[used]] <= kMostOfStep)
        order[twos++] = step, order[twos++] = small_[used++];
      else
        large_[alone++] = step;
    }
    const int32_t rest = small_count_ - used;
    int32_t* at = std::copy_n(small_ + used, rest, order + twos);
    twos += rest / 2 * 2;
    ones = alone + rest % 2;
    std::copy_n(wide_, words, std::copy_n(large_, alone, at));
  }

  void AddLeast(const BlockInputs& inputs, bool lowered, const Slice2& slice) {
    __m256i sums[2] = {Load256(slice.bias), Load256(slice.bias + 8)};
    const int8_t* weights = slice.weights;
    for (int32_t i = 0; lowered && i < steps_; ++i, weights += slice.step_bytes) {
      const __m256i x = FourOf(inputs.least + i * 4);
      sums[0] = AddByWords(sums[0], x, Load256(weights));
      sums[1] = AddByWords(sums[1], x, Load256(weights + 32));
    }
    Store256(bias, sums[0]);
    Store256(bias + 8, sums[1]);
  }

  int32_t *bounds_, *small_, *large_, *wide_;
  int32_t small_count_ = 0, large_count_ = 0;
  int32_t steps_;
};

}  // namespace
}  // namespace ds::engine
