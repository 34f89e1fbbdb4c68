// A tile's inputs and bounds for products of bytes in pairs (pairs8_inl.h), and which steps of the
// depth must be multiplied apart from the rest because a sum of their products might not hold in 16
// bits.
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
constexpr int64_t kLimitBytes = 4;  // of a step: a word for each pair

// Bytes of scratch for a depth, with what vectors write behind it.
struct PairPlan {
  explicit PairPlan(int64_t depth) : steps(depth / 4) {}

  int64_t InputBytes() const { return (steps + 4) * kStepBytes; }
  int64_t LimitBytes() const { return RoundUp((steps + 8) * kLimitBytes, 64); }
  int64_t TileBytes() const {
    return std::max(InputBytes() + LimitBytes(), WideTileBytes(steps * 4));
  }
  int64_t SlicesBytes() const { return kPanel / kSlice2 * LimitBytes(); }
  // At most two for each step, and the step of each.
  int64_t OutBytes() const { return 2 * (steps * kStepBytes + LimitBytes()); }

  int64_t steps;
};

// A tile's inputs [steps][8][4] and each pair's greatest, [steps][2] words.
struct PairTile {
  char* inputs;
  char* greatest;
};

constexpr int32_t kTileRows = kPairRows + kPairRows % 2;

inline void InterleaveTile(const Tile<uint8_t>& tile, const PairTile& to) {
  const __m128i low = _mm_set1_epi16(0xff);
  char *inputs = to.inputs, *greatest = to.greatest;
  for (int32_t tap = 0; tap < tile.taps; ++tap) {
    const uint8_t* rows[kTileRows];  // the last one again where there are fewer
    for (int32_t r = 0; r < kTileRows; ++r)
      rows[r] = tile.rows[tap * kTilePointers + std::min(r, tile.count - 1)];
    for (int32_t k = 0; k < tile.run; k += 16) {
      char* at = inputs + k / 4 * kStepBytes;
      __m128i most = _mm_setzero_si128();
      Unroll<kTileRows / 2>([&](auto pair) __attribute__((always_inline)) {
        const __m128i a = Load128(rows[2 * pair] + k), b = Load128(rows[2 * pair + 1] + k);
        most = _mm_max_epu8(most, _mm_max_epu8(a, b));
        const __m128d first = _mm_castsi128_pd(_mm_unpacklo_epi32(a, b));
        const __m128d last = _mm_castsi128_pd(_mm_unpackhi_epi32(a, b));
        double* place = reinterpret_cast<double*>(at) + pair;
        _mm_storel_pd(place, first);
        _mm_storeh_pd(place + kStepBytes / 8, first);
        _mm_storel_pd(place + 2 * kStepBytes / 8, last);
        _mm_storeh_pd(place + 3 * kStepBytes / 8, last);
      });
      _mm_storeu_si128(reinterpret_cast<__m128i*>(greatest + k / 4 * kLimitBytes),
                       _mm_max_epu16(_mm_and_si128(most, low), _mm_srli_epi16(most, 8)));
    }
    inputs += tile.run / 4 * kStepBytes;
    greatest += tile.run / 4 * kLimitBytes;
  }
}

// The line `bytes` behind `from`, which may lie behind all there is.
[[gnu::always_inline]] inline void FetchBehind(const int8_t* from, int64_t bytes) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(from) + static_cast<uintptr_t>(bytes);
  _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T1);
}

// For each pair of the depth, the greatest sum of weights of one sign in sixteen channels: [steps]
// [2] words, at most 256; zeros up to whole vectors.
// Brings what comes behind them, the next panel's, closer.
inline void SignedSums(const int8_t* weights, int64_t step_bytes, int64_t steps, char* sums) {
  const __m256i ones = _mm256_set1_epi8(1), zero = _mm256_setzero_si256();
  const auto of_eight = [&](const int8_t* from) {
    const __m256i w = Load256(from), positive = _mm256_max_epi8(w, zero);
    return _mm256_max_epi16(_mm256_maddubs_epi16(positive, ones),
                            _mm256_maddubs_epi16(_mm256_sub_epi8(positive, w), ones));
  };
  for (int64_t i = 0; i < steps; ++i, weights += step_bytes) {
    FetchBehind(weights, steps * step_bytes);
    const __m256i both = _mm256_max_epi16(of_eight(weights), of_eight(weights + 32));
    __m128i most = _mm_max_epi16(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
    most = _mm_max_epi16(most, _mm_shuffle_epi32(most, 0x4e));
    most = _mm_max_epi16(most, _mm_shuffle_epi32(most, 0xb1));
    _mm_storeu_si32(sums + i * kLimitBytes, most);
  }
  Store256(sums + steps * kLimitBytes, zero);
}

// How the steps of a tile are multiplied.
enum class Together { kTwo, kOne };

// What is multiplied apart from the rest of a tile: inputs, [count][8][4], and the step that each
// belongs to.
class StepsApart {
 public:
  StepsApart(char* scratch, int64_t steps)
      : inputs_(scratch), steps_(reinterpret_cast<int32_t*>(scratch + 2 * steps * kStepBytes)) {}

  // Leaves in the tile what cannot saturate: of a step that might, min(x, 127) where steps go one
  // by one, as does a last one without a second. Two by two, nothing of that step, nor of the
  // second where only both together might.
  void TakeOut(const PairTile& tile, const char* sums, int64_t steps, Together how) {
    // Copies, since what is stored might be they for all that the compiler knows.
    const char* const greatest = tile.greatest;
    count_ = 0;
    if (how == Together::kTwo && NoneReach(greatest, sums, steps)) return;
    for (int64_t first = 0; first < steps; first += 8) {
      const __m256i most = _mm256_mullo_epi16(Load256(greatest + first * kLimitBytes),
                                              Load256(sums + first * kLimitBytes));
      const uint32_t alone = Reached(most);
      if (how == Together::kOne) {
        for (uint32_t bits = alone; bits != 0; bits &= bits - 1)
          Split(tile, static_cast<int32_t>(first) + std::countr_zero(bits));
        continue;
      }
      const uint32_t both = Reached(OfTwo(most));
      const uint32_t neither = ~(alone | (alone & kFirsts) << 1 | (alone & ~kFirsts) >> 1);
      uint32_t out = alone | (both & neither & ~kFirsts);
      for (; out != 0; out &= out - 1) {
        const int bit = std::countr_zero(out);
        const int32_t step = static_cast<int32_t>(first) + bit;
        if ((alone >> bit & 1) != 0) Split(tile, step);
        if (step % 2 != 0 || step + 1 < steps) Move(tile, step);
      }
    }
  }

  void PutBack(const PairTile& tile) const {
    for (int32_t i = 0; i < count_; ++i) {
      char* at = tile.inputs + steps_[i] * kStepBytes;
      Store256(at, _mm256_add_epi8(Load256(at), Load256(inputs_ + i * kStepBytes)));
    }
  }

  int32_t Count() const { return count_; }
  int32_t Step(int32_t i) const { return steps_[i]; }
  const char* Inputs() const { return inputs_; }

 private:
  static constexpr uint32_t kFirsts = 0x55;  // of each two steps

  // From the bounds of steps to those of each and its neighbour.
  static __m256i OfTwo(__m256i bounds) {
    return _mm256_adds_epu16(bounds, _mm256_shuffle_epi32(bounds, 0xb1));
  }
  // Most tiles need no more than this.
  static bool NoneReach(const char* greatest, const char* sums, int64_t steps) {
    __m256i all = _mm256_setzero_si256();
    for (int64_t at = 0; at < steps * kLimitBytes; at += 32) {
      const __m256i most = _mm256_mullo_epi16(Load256(greatest + at), Load256(sums + at));
      all = _mm256_or_si256(all, OfTwo(most));
    }
    return _mm256_testz_si256(all, _mm256_set1_epi16(INT16_MIN)) != 0;
  }
  // Of eight steps, those of which a word has its highest bit.
  static uint32_t Reached(__m256i bounds) {
    const __m256i either = _mm256_or_si256(bounds, _mm256_slli_epi32(bounds, 16));
    return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(either)));
  }
  void Split(const PairTile& tile, int32_t step) {
    char* at = tile.inputs + step * kStepBytes;
    const __m256i x = Load256(at), kept = _mm256_min_epu8(x, _mm256_set1_epi8(127));
    Store256(at, kept);
    Add(step, _mm256_sub_epi8(x, kept));
  }
  void Move(const PairTile& tile, int32_t step) {
    char* at = tile.inputs + step * kStepBytes;
    Add(step, Load256(at));
    Store256(at, _mm256_setzero_si256());
  }
  void Add(int32_t step, __m256i inputs) {
    Store256(inputs_ + count_ * kStepBytes, inputs);
    steps_[count_++] = step;
  }

  char* inputs_;
  int32_t* steps_;
  int32_t count_ = 0;
};

}  // namespace
}  // namespace ds::engine
