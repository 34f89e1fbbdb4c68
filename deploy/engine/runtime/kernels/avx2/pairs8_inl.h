// Matrix product of many rows of bytes by AVX2's products of bytes in pairs (vpmaddubsw): half the
// additions of products of words (conv8_inl.h), and these are what binds there. They saturate at 16
// bits; about one pair in twenty of a trained layer's weights might, so that nearly every step has
// one. Exact all the same: in a tile, a pair of the depth cannot where its greatest input times the
// greatest sum of its weights of one sign stays below 2^15. Of the few steps where one might,
// inputs are split: x = min(x, 127) + rest, neither of which can with any weights, and the rests
// are multiplied in a second pass over those steps alone. Where steps are too many, words take
// over.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <utility>

#include "deploy/engine/runtime/kernels/avx2/conv8_inl.h"
#include "deploy/engine/runtime/kernels/avx2/finish8_inl.h"
#include "deploy/engine/runtime/kernels/generic/blocks_inl.h"
#include "deploy/engine/runtime/kernels/generic/conv_inl.h"
#include "deploy/engine/runtime/kernels/generic/unroll_inl.h"

namespace ds::engine {
namespace {

// Fewer rows do not repay the look at the weights; inputs of both signs, as a higher zero point
// means, are large too often; and more split steps than one in kMostSplit take longer than words.
constexpr int32_t kFewestPairRows = 4 * kRows2;
constexpr int32_t kMostPairZero = 64;
constexpr int32_t kMostSplit = 6;
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
  int64_t RestBytes() const { return steps * kStepBytes + LimitBytes(); }

  int64_t steps;
};

// A tile's inputs [steps][8][4] and each pair's greatest, [steps][2] words.
struct PairTile {
  char* inputs;
  char* greatest;
};

inline void InterleaveTile(const Tile<uint8_t>& tile, const PairTile& to) {
  const __m128i low = _mm_set1_epi16(0xff);
  char *inputs = to.inputs, *greatest = to.greatest;
  for (int32_t tap = 0; tap < tile.taps; ++tap) {
    const uint8_t* rows[kRows2];  // the last one again where there are fewer
    for (int32_t r = 0; r < kRows2; ++r)
      rows[r] = tile.rows[tap * kTilePointers + std::min(r, tile.count - 1)];
    for (int32_t k = 0; k < tile.run; k += 16) {
      char* at = inputs + k / 4 * kStepBytes;
      __m128i most = _mm_setzero_si128();
      Unroll<kRows2 / 2>([&](auto pair) __attribute__((always_inline)) {
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

// Steps of a tile whose inputs are split: where their weights are, and the rests, [count][8][4].
class SplitSteps {
 public:
  SplitSteps(char* scratch, int64_t steps)
      : rests_(scratch), steps_(reinterpret_cast<int32_t*>(scratch + steps * kStepBytes)) {}

  // Leaves min(x, 127) in the tile where a pair might saturate.
  void Split(const PairTile& tile, const char* sums, int64_t steps) {
    // Copies, since what is stored might be they for all that the compiler knows.
    char *const inputs = tile.inputs, *rest = rests_;
    const char* const greatest = tile.greatest;
    int32_t* next = steps_;
    for (int64_t first = 0; first < steps; first += 8) {
      const __m256i most = _mm256_mullo_epi16(Load256(greatest + first * kLimitBytes),
                                              Load256(sums + first * kLimitBytes));
      const __m256i either = _mm256_or_si256(most, _mm256_slli_epi32(most, 16));
      uint32_t bits = static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(either)));
      for (; bits != 0; bits &= bits - 1, rest += kStepBytes) {
        const int32_t step = static_cast<int32_t>(first) + std::countr_zero(bits);
        char* at = inputs + step * kStepBytes;
        const __m256i x = Load256(at), kept = _mm256_min_epu8(x, _mm256_set1_epi8(127));
        Store256(at, kept);
        Store256(rest, _mm256_sub_epi8(x, kept));
        *next++ = step;
      }
    }
    count_ = static_cast<int32_t>(next - steps_);
  }

  void Join(const PairTile& tile) const {
    for (int32_t i = 0; i < count_; ++i) {
      char* at = tile.inputs + steps_[i] * kStepBytes;
      Store256(at, _mm256_add_epi8(Load256(at), Load256(rests_ + i * kStepBytes)));
    }
  }

  int32_t Count() const { return count_; }
  int32_t Step(int32_t i) const { return steps_[i]; }
  const char* Rests() const { return rests_; }

 private:
  char* rests_;
  int32_t* steps_;
  int32_t count_ = 0;
};

// a += x * wa and b += x * w[32..63], x the four bytes at `from` for all channels.
[[gnu::always_inline]] inline void MultiplyAddFours(const char* from, __m256i wa, const int8_t* w,
                                                    __m256i ones, __m256i& a, __m256i& b) {
  __m256i x, product, sum_a = a, sum_b = b;
  asm volatile(
      "vpbroadcastd %4, %2\n\tvpmaddubsw %5, %2, %3\n\tvpmaddubsw %6, %2, %2\n\t"
      "vpmaddwd %7, %3, %3\n\tvpaddd %3, %0, %0\n\tvpmaddwd %7, %2, %2\n\tvpaddd %2, %1, %1"
      : "+x"(sum_a), "+x"(sum_b), "=&x"(x), "=&x"(product)
      : "m"(*reinterpret_cast<const int32_t*>(from)), "x"(wa),
        "m"(*reinterpret_cast<const __m256i_u*>(w + 32)), "x"(ones));
  a = sum_a, b = sum_b;
}
[[gnu::always_inline]] inline void MultiplyAddFour(const char* from, __m256i w, __m256i ones,
                                                   __m256i& sum) {
  __m256i x, total = sum;
  asm volatile(
      "vpbroadcastd %2, %1\n\tvpmaddubsw %3, %1, %1\n\tvpmaddwd %4, %1, %1\n\tvpaddd %1, %0, %0"
      : "+x"(total), "=&x"(x)
      : "m"(*reinterpret_cast<const int32_t*>(from)), "x"(w), "x"(ones));
  sum = total;
}

template <int kRows, int kVectors>
void RunPairs(const Tile<uint8_t>& tile, const Slice2& slice, const PairTile& inputs, int64_t steps,
              const SplitSteps& split, const Finish2& finish) {
  __m256i sums[kRows][kVectors];
  Unroll<kVectors>([&](auto v) {
    const __m256i bias = Load256(slice.bias + v * 8);
    Unroll<kRows>([&](auto r) { sums[r][v] = bias; });
  });
  const __m256i ones = _mm256_set1_epi16(1);
  const auto step = [&](const char* from, const int8_t* weights) __attribute__((always_inline)) {
    const __m256i w = LoadHere(weights);
    Unroll<kRows>([&](auto r) __attribute__((always_inline)) {
      if constexpr (kVectors == 1)
        MultiplyAddFour(from + r * 4, w, ones, sums[r][0]);
      else
        MultiplyAddFours(from + r * 4, w, weights, ones, sums[r][0], sums[r][1]);
    });
  };
  const int8_t* weights = slice.weights;
  const char* end = inputs.inputs + steps * kStepBytes;
  for (const char* at = inputs.inputs; at < end; at += kStepBytes, weights += slice.step_bytes)
    step(at, weights);
  for (int32_t i = 0; i < split.Count(); ++i)
    step(split.Rests() + i * kStepBytes, slice.weights + split.Step(i) * slice.step_bytes);
  StoreTile2<kRows, kVectors>(tile, slice, finish, sums);
}

using RunPairTile = void (*)(const Tile<uint8_t>&, const Slice2&, const PairTile&, int64_t,
                             const SplitSteps&, const Finish2&);

template <int kVectors, size_t... kRows>
constexpr std::array<RunPairTile, sizeof...(kRows)> PairTiles(std::index_sequence<kRows...>) {
  return {RunPairs<static_cast<int>(kRows) + 1, kVectors>...};
}

// One convolution: its tiles by pairs until too many of their steps are split, then by words.
class PairConv {
 public:
  PairConv(const Conv8Args& args, void* scratch)
      : args_(args),
        plan_(RoundUp(args.shape.Depth(), 4)),
        finish_(args.requantise),
        tiles_(static_cast<char*>(scratch) +
               RoundUp(Blocks2<false>(args.shape).ScratchBytes(), 64)),
        sums_(tiles_ + Blocks2<false>(args.shape).tiles * plan_.TileBytes()),
        split_(sums_ + plan_.SlicesBytes(), plan_.steps) {}

  static int64_t ScratchBytes(const ConvShape& shape) {
    const Blocks2<false> blocks(shape);
    const PairPlan plan(RoundUp(shape.Depth(), 4));
    return RoundUp(blocks.ScratchBytes(), 64) + blocks.tiles * plan.TileBytes() +
           plan.SlicesBytes() + plan.RestBytes();
  }

  void Prepare(const Tile<uint8_t>& tile) const {
    by_words_ ? WidenTile2(tile, Place(tile)) : InterleaveTile(tile, Inputs(tile));
  }

  void Run(const Tile<uint8_t>& tile, int32_t group, int32_t column, int32_t width) {
    if (tile.number == 0) {
      widens_ = !by_words_ && split_steps_ * kMostSplit > all_steps_;
      by_words_ = by_words_ || widens_;
    }
    if (widens_) WidenTile2(tile, Place(tile));  // in the midst of a block
    if (by_words_) return RunWords<false>(args_, finish_, tile, Place(tile), group, column, width);
    RunPanel(tile, group, column, width);
  }

 private:
  char* Place(const Tile<uint8_t>& tile) const { return tiles_ + tile.number * plan_.TileBytes(); }
  PairTile Inputs(const Tile<uint8_t>& tile) const {
    return {Place(tile), Place(tile) + plan_.InputBytes()};
  }

  void RunPanel(const Tile<uint8_t>& tile, int32_t group, int32_t column, int32_t width) {
    static constexpr auto kOne = PairTiles<1>(std::make_index_sequence<kRows2>());
    static constexpr auto kTwo = PairTiles<2>(std::make_index_sequence<kRows2>());
    const ConvShape& shape = args_.shape;
    const Requantise& how = args_.requantise;
    const int32_t panel = PanelWidth(shape.out_channels - column);
    const int8_t* weights = static_cast<const int8_t*>(args_.weights) + group * Group8Bytes(shape) +
                            column * plan_.steps * 4;
    const PairTile inputs = Inputs(tile);
    for (int32_t c = 0; c < width; c += kSlice2) {
      const int64_t at = group * RoundUp(shape.out_channels, kChannelBlock) + column + c;
      const Slice2 slice{weights + c * 4,     panel * 4,  how.bias + at,
                         how.multiplier + at, column + c, std::min(kSlice2, width - c)};
      char* sums = sums_ + c / kSlice2 * plan_.LimitBytes();
      if (tile.number == 0) SignedSums(slice.weights, slice.step_bytes, plan_.steps, sums);
      split_.Split(inputs, sums, plan_.steps);
      split_steps_ += split_.Count(), all_steps_ += plan_.steps;
      const RunPairTile* run = slice.columns > 8 ? kTwo.data() : kOne.data();
      run[tile.count - 1](tile, slice, inputs, plan_.steps, split_, finish_);
      split_.Join(inputs);
    }
  }

  const Conv8Args& args_;
  const PairPlan plan_;
  const Finish2 finish_;
  char *tiles_, *sums_;
  SplitSteps split_;
  int64_t split_steps_ = 0, all_steps_ = 0;
  bool by_words_ = false;
  bool widens_ = false;  // the panel with which words begin
};

inline void PairConvBytes(const Conv8Args& args, Range rows, Range columns, void* scratch) {
  PairConv conv(args, scratch);
  RunBlocks<uint8_t, 4, kRows2>(
      args, args.requantise.residual, args.pad_value, rows, columns, scratch, Copy256(),
      [&](const Tile<uint8_t>& tile) { conv.Prepare(tile); },
      [&](const Tile<uint8_t>& tile, int32_t group, int32_t column, int32_t width) {
        conv.Run(tile, group, column, width);
      });
}

// Both ways, whichever suits.
template <bool kFour>
void DirectConvBytes(const Conv8Args& args, Range rows, Range columns, void* scratch) {
  if (!kFour && rows.end - rows.begin >= kFewestPairRows && args.pad_value <= kMostPairZero)
    return PairConvBytes(args, rows, columns, scratch);
  WordConvBytes<kFour>(args, rows, columns, scratch);
}

inline int64_t DirectConvScratch(const ConvShape& shape) {
  return std::max(WordConvScratch(shape), PairConv::ScratchBytes(shape));
}

}  // namespace
}  // namespace ds::engine
