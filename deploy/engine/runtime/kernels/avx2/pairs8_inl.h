// Matrix product of many rows of bytes by AVX2's products of bytes in pairs (vpmaddubsw), those of
// two steps of the depth added as 16 bits before they become 32 (vpmaddwd): six multiplications for
// what words (conv8_inl.h) take eight for, and half the additions, which bind there. Products in
// pairs saturate and their sums wrap at 16 bits; about one pair in twenty of a trained layer's
// weights might. Exact all the same: from the inputs of a block of tiles the least of each channel
// is taken off (what it comes to is the same for all pixels, and goes into the bias), and what is
// left bounds every pair's sum. Steps go two by two where both bounds together hold in 16 bits, any
// two of the depth, then one by one, and by words where not even one does (pair_steps8_inl.h).
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "deploy/engine/runtime/kernels/avx2/conv8_inl.h"
#include "deploy/engine/runtime/kernels/avx2/finish8_inl.h"
#include "deploy/engine/runtime/kernels/avx2/pair_steps8_inl.h"
#include "deploy/engine/runtime/kernels/generic/blocks_inl.h"
#include "deploy/engine/runtime/kernels/generic/conv_inl.h"
#include "deploy/engine/runtime/kernels/generic/unroll_inl.h"

namespace ds::engine {
namespace {

// Fewer rows do not repay the look at inputs and weights.
constexpr int32_t kFewestPairRows = 24;
// An image's few channels, of both signs: their range is nearly all there is, so that most steps
// would go by words.
constexpr int32_t kWideZero = 64;

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

// The same of two steps, x and y the fours of each, v the second one's weights.
[[gnu::always_inline]] inline void MultiplyAddEights(const char* x, const char* y, __m256i wa,
                                                     const int8_t* w, const int8_t* v, __m256i ones,
                                                     __m256i& a, __m256i& b) {
  __m256i first, second, product, other, sum_a = a, sum_b = b;
  asm volatile(
      "vpbroadcastd %6, %2\n\tvpbroadcastd %7, %3\n\t"
      "vpmaddubsw %8, %2, %4\n\tvpmaddubsw %9, %2, %2\n\t"
      "vpmaddubsw %10, %3, %5\n\tvpmaddubsw %11, %3, %3\n\t"
      "vpaddw %5, %4, %4\n\tvpaddw %3, %2, %2\n\t"
      "vpmaddwd %12, %4, %4\n\tvpmaddwd %12, %2, %2\n\t"
      "vpaddd %4, %0, %0\n\tvpaddd %2, %1, %1"
      : "+x"(sum_a), "+x"(sum_b), "=&x"(first), "=&x"(second), "=&x"(product), "=&x"(other)
      : "m"(*reinterpret_cast<const int32_t*>(x)), "m"(*reinterpret_cast<const int32_t*>(y)),
        "x"(wa), "m"(*reinterpret_cast<const __m256i_u*>(w + 32)),
        "m"(*reinterpret_cast<const __m256i_u*>(v)),
        "m"(*reinterpret_cast<const __m256i_u*>(v + 32)), "x"(ones));
  a = sum_a, b = sum_b;
}
[[gnu::always_inline]] inline void MultiplyAddEight(const char* x, const char* y, __m256i w,
                                                    const int8_t* v, __m256i ones, __m256i& sum) {
  __m256i first, second, total = sum;
  asm volatile(
      "vpbroadcastd %3, %1\n\tvpbroadcastd %4, %2\n\t"
      "vpmaddubsw %5, %1, %1\n\tvpmaddubsw %6, %2, %2\n\t"
      "vpaddw %2, %1, %1\n\tvpmaddwd %7, %1, %1\n\tvpaddd %1, %0, %0"
      : "+x"(total), "=&x"(first), "=&x"(second)
      : "m"(*reinterpret_cast<const int32_t*>(x)), "m"(*reinterpret_cast<const int32_t*>(y)),
        "x"(w), "m"(*reinterpret_cast<const __m256i_u*>(v)), "x"(ones));
  sum = total;
}

// The same by words: a += x * wa and b += x * wb, x the bytes 0 and 2 (kPart 0) or 1 and 3 of the
// four.
constexpr int64_t kEvenBytes[4] = {0x00ff00ff00ff00ff, 0x00ff00ff00ff00ff, 0x00ff00ff00ff00ff,
                                   0x00ff00ff00ff00ff};
template <int kPart>
[[gnu::always_inline]] inline void MultiplyAddWords(const char* from, __m256i wa, __m256i wb,
                                                    __m256i& a, __m256i& b) {
  __m256i x, product, sum_a = a, sum_b = b;
  if constexpr (kPart == 0) {
    asm volatile(
        "vpbroadcastd %4, %2\n\tvpand %7, %2, %2\n\tvpmaddwd %5, %2, %3\n\tvpmaddwd %6, %2, %2\n\t"
        "vpaddd %3, %0, %0\n\tvpaddd %2, %1, %1"
        : "+x"(sum_a), "+x"(sum_b), "=&x"(x), "=&x"(product)
        : "m"(*reinterpret_cast<const int32_t*>(from)), "x"(wa), "x"(wb),
          "m"(*reinterpret_cast<const __m256i_u*>(kEvenBytes)));
  } else {
    asm volatile(
        "vpbroadcastd %4, %2\n\tvpsrlw $8, %2, %2\n\tvpmaddwd %5, %2, %3\n\tvpmaddwd %6, %2, %2\n\t"
        "vpaddd %3, %0, %0\n\tvpaddd %2, %1, %1"
        : "+x"(sum_a), "+x"(sum_b), "=&x"(x), "=&x"(product)
        : "m"(*reinterpret_cast<const int32_t*>(from)), "x"(wa), "x"(wb));
  }
  a = sum_a, b = sum_b;
}
template <int kPart>
[[gnu::always_inline]] inline void MultiplyAddWord(const char* from, __m256i w, __m256i& sum) {
  __m256i x = FourOf(from);
  x = kPart == 0 ? _mm256_and_si256(x, Load256(kEvenBytes)) : _mm256_srli_epi16(x, 8);
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(x, w));
}

template <int kRows, int kVectors>
void RunPairs(const Tile<uint8_t>& tile, const Slice2& slice, const char* inputs,
              const SliceSteps& steps, const Finish2& finish) {
  __m256i sums[kRows][kVectors];
  Unroll<kVectors>([&](auto v) {
    const __m256i bias = Load256(steps.bias + v * 8);
    Unroll<kRows>([&](auto r) { sums[r][v] = bias; });
  });
  const __m256i ones = _mm256_set1_epi16(1);
  const auto two = [&](const char* x, const char* y, const int8_t* weights, const int8_t* second)
      __attribute__((always_inline)) {
    const __m256i w = LoadHere(weights);
    Unroll<kRows>([&](auto r) __attribute__((always_inline)) {
      if constexpr (kVectors == 1)
        MultiplyAddEight(x + r * 4, y + r * 4, w, second, ones, sums[r][0]);
      else
        MultiplyAddEights(x + r * 4, y + r * 4, w, weights, second, ones, sums[r][0], sums[r][1]);
    });
  };
  const char* const straight = inputs + steps.straight * kStepBytes;
  const int8_t* ahead = slice.weights;
  for (const char* x = inputs; x < straight; x += 2 * kStepBytes, ahead += 2 * slice.step_bytes)
    two(x, x + kStepBytes, ahead, ahead + slice.step_bytes);
  const int32_t* step = steps.order + steps.straight;
  for (const int32_t* end = steps.order + steps.twos; step < end; step += 2) {
    two(inputs + step[0] * kStepBytes, inputs + step[1] * kStepBytes,
        slice.weights + step[0] * slice.step_bytes, slice.weights + step[1] * slice.step_bytes);
  }
  for (const int32_t* end = step + steps.ones; step < end; ++step) {
    const char* x = inputs + *step * kStepBytes;
    const int8_t* weights = slice.weights + *step * slice.step_bytes;
    const __m256i w = LoadHere(weights);
    Unroll<kRows>([&](auto r) __attribute__((always_inline)) {
      if constexpr (kVectors == 1)
        MultiplyAddFour(x + r * 4, w, ones, sums[r][0]);
      else
        MultiplyAddFours(x + r * 4, w, weights, ones, sums[r][0], sums[r][1]);
    });
  }
  for (const int32_t* end = step + steps.words; step < end; ++step) {
    const char* x = inputs + *step * kStepBytes;
    const int8_t* weights = slice.weights + *step * slice.step_bytes;
    Unroll<2>([&](auto part) __attribute__((always_inline)) {
      __m256i w[kVectors];
      Unroll<kVectors>([&](auto v) { w[v] = WordsOf<false, part>(LoadHere(weights + v * 32)); });
      Unroll<kRows>([&](auto r) __attribute__((always_inline)) {
        if constexpr (kVectors == 1)
          MultiplyAddWord<part>(x + r * 4, w[0], sums[r][0]);
        else
          MultiplyAddWords<part>(x + r * 4, w[0], w[1], sums[r][0], sums[r][1]);
      });
    });
  }
  StoreTile2<kRows, kVectors>(tile, slice, finish, sums);
}

using RunPairTile = void (*)(const Tile<uint8_t>&, const Slice2&, const char*, const SliceSteps&,
                             const Finish2&);

template <int kVectors, size_t... kRows>
constexpr std::array<RunPairTile, sizeof...(kRows)> PairTiles(std::index_sequence<kRows...>) {
  return {RunPairs<static_cast<int>(kRows) + 1, kVectors>...};
}

using PairBlocks = Blocks<uint8_t, 4, kPairRows>;

// One convolution, block after block.
class PairConv {
 public:
  PairConv(const Conv8Args& args, Range columns, void* scratch)
      : args_(args),
        columns_(columns),
        plan_(RoundUp(args.shape.Depth(), 4)),
        finish_(args.requantise),
        tiles_(static_cast<char*>(scratch) + RoundUp(PairBlocks(args.shape).ScratchBytes(), 64)),
        inputs_(InputsAt(tiles_ + PairBlocks(args.shape).tiles * plan_.TileBytes())),
        steps_{StepsAt(0), StepsAt(1)} {}

  static int64_t ScratchBytes(const ConvShape& shape) {
    const PairBlocks blocks(shape);
    const PairPlan plan(RoundUp(shape.Depth(), 4));
    return RoundUp(blocks.ScratchBytes(), 64) + blocks.tiles * plan.TileBytes() +
           2 * plan.RangeBytes() + kPanel / kSlice2 * SliceSteps::ScratchBytes(plan);
  }

  void Fill(const Tile<uint8_t>& tile) const {
    if (tile.number == 0) inputs_.Reset(plan_);
    inputs_.Include(tile);
    FetchOutputs(tile, 0);
  }

  void RunBlock(const Tile<uint8_t>* tiles, int32_t count, int32_t group) {
    const bool lowered = inputs_.Finish(plan_);
    for (int32_t t = 0; t < count; ++t) InterleaveTile(tiles[t], inputs_.least, Place(tiles[t]));
    for (int32_t column = columns_.begin; column < columns_.end; column += kPanel)
      RunPanel(tiles, count, lowered, group, column);
  }

 private:
  static constexpr auto kOne = PairTiles<1>(std::make_index_sequence<kPairRows>());
  static constexpr auto kTwo = PairTiles<2>(std::make_index_sequence<kPairRows>());

  BlockInputs InputsAt(char* at) const {
    uint8_t* least = reinterpret_cast<uint8_t*>(at);
    return {least, least + plan_.RangeBytes()};
  }
  SliceSteps StepsAt(int32_t slice) const {
    char* at = reinterpret_cast<char*>(inputs_.range) + plan_.RangeBytes();
    return {at + slice * SliceSteps::ScratchBytes(plan_), plan_};
  }
  char* Place(const Tile<uint8_t>& tile) const { return tiles_ + tile.number * plan_.TileBytes(); }

  // Brings what a panel of a tile reads and writes behind its sums closer, a block ahead: no
  // processor foresees lines so far apart.
  void FetchOutputs(const Tile<uint8_t>& tile, int32_t column) const {
    if (column >= args_.shape.out_channels) return;
    for (int32_t r = 0; r < tile.count; ++r) {
      _mm_prefetch(tile.out[r] + column, _MM_HINT_T0);
      if (finish_.adds) _mm_prefetch(tile.residual[r] + column, _MM_HINT_T0);
    }
  }

  void RunPanel(const Tile<uint8_t>* tiles, int32_t count, bool lowered, int32_t group,
                int32_t column) {
    const ConvShape& shape = args_.shape;
    const Requantise& how = args_.requantise;
    const int32_t panel = PanelWidth(shape.out_channels - column);
    const int32_t width = std::min(kPanel, columns_.end - column);
    const int8_t* weights = static_cast<const int8_t*>(args_.weights) + group * Group8Bytes(shape) +
                            column * plan_.steps * 4;
    Slice2 slices[kPanel / kSlice2];
    const int32_t slice_count = (width + kSlice2 - 1) / kSlice2;
    for (int32_t s = 0; s < slice_count; ++s) {
      const int32_t c = s * kSlice2;
      const int64_t at = group * RoundUp(shape.out_channels, kChannelBlock) + column + c;
      slices[s] = {weights + c * 4,     panel * 4,  how.bias + at,
                   how.multiplier + at, column + c, std::min(kSlice2, width - c)};
      slices[s].plain = IsPlain(slices[s], finish_);
      steps_[s].Plan(inputs_, lowered, slices[s]);
    }
    for (int32_t t = 0; t < count; ++t) {
      FetchOutputs(tiles[t], column + kPanel);
      for (int32_t s = 0; s < slice_count; ++s) {
        const RunPairTile* run = slices[s].columns > 8 ? kTwo.data() : kOne.data();
        run[tiles[t].count - 1](tiles[t], slices[s], Place(tiles[t]), steps_[s], finish_);
      }
    }
  }

  const Conv8Args& args_;
  const Range columns_;
  const PairPlan plan_;
  const Finish2 finish_;
  char* tiles_;
  BlockInputs inputs_;
  SliceSteps steps_[kPanel / kSlice2];
};

inline void PairConvBytes(const Conv8Args& args, Range rows, Range columns, void* scratch) {
  PairConv conv(args, columns, scratch);
  ForBlocks<uint8_t, 4, kPairRows>(
      args, args.requantise.residual, args.pad_value, rows, scratch, Copy256(),
      [&](const Tile<uint8_t>& tile) { conv.Fill(tile); },
      [&](const Tile<uint8_t>* tiles, int32_t count, int32_t group) {
        conv.RunBlock(tiles, count, group);
      });
}

// Both ways, whichever suits.
template <bool kFour>
void DirectConvBytes(const Conv8Args& args, Range rows, Range columns, void* scratch) {
  const bool wide = PairBlocks(args.shape).gathers && args.pad_value >= kWideZero;
  if (!kFour && !wide && rows.end - rows.begin >= kFewestPairRows)
    return PairConvBytes(args, rows, columns, scratch);
  WordConvBytes<kFour>(args, rows, columns, scratch);
}

inline int64_t DirectConvScratch(const ConvShape& shape) {
  return std::max(WordConvScratch(shape), PairConv::ScratchBytes(shape));
}

}  // namespace
}  // namespace ds::engine
