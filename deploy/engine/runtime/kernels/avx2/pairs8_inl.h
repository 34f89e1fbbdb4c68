// Matrix product of many rows of bytes by AVX2's products of bytes in pairs (vpmaddubsw), those of
// two steps of the depth added as 16 bits before they become 32 (vpmaddwd): six multiplications for
// what words (conv8_inl.h) take eight for, and half the additions, which bind there. Products in
// pairs saturate and their sums wrap at 16 bits; about one pair in twenty of a trained layer's
// weights might. Exact all the same: in a tile, a pair of the depth cannot where its greatest input
// times the greatest sum of its weights of one sign stays below 2^15, nor can two where both bounds
// together do. Of two steps that might, one is taken out and multiplied alone in a second pass; of
// a step that might by itself, inputs are split: x = min(x, 127) + rest, neither of which can with
// any weights. Where too many steps are taken out, steps go one by one, and where still too many
// are split, words take over.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <bit>
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

// Fewer rows do not repay the look at the weights; inputs of both signs, as a higher zero point
// means, are large too often; more steps taken out than one in kMostOut take longer than all steps
// one by one, and more split ones than one in kMostSplit longer than words.
constexpr int32_t kFewestPairRows = 24;
constexpr int32_t kMostPairZero = 64;
constexpr int32_t kMostOut = 12;
constexpr int32_t kMostSplit = 6;

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

// A tile's inputs, without what is multiplied apart.
struct PairInputs {
  const char* inputs;
  int64_t steps;
  Together how;
};

template <int kRows, int kVectors>
void RunPairs(const Tile<uint8_t>& tile, const Slice2& slice, const PairInputs& inputs,
              const StepsApart& apart, const Finish2& finish) {
  __m256i sums[kRows][kVectors];
  Unroll<kVectors>([&](auto v) {
    const __m256i bias = Load256(slice.bias + v * 8);
    Unroll<kRows>([&](auto r) { sums[r][v] = bias; });
  });
  const __m256i ones = _mm256_set1_epi16(1);
  const auto one = [&](const char* from, const int8_t* weights) __attribute__((always_inline)) {
    const __m256i w = LoadHere(weights);
    Unroll<kRows>([&](auto r) __attribute__((always_inline)) {
      if constexpr (kVectors == 1)
        MultiplyAddFour(from + r * 4, w, ones, sums[r][0]);
      else
        MultiplyAddFours(from + r * 4, w, weights, ones, sums[r][0], sums[r][1]);
    });
  };
  const int8_t* weights = slice.weights;
  const char* at = inputs.inputs;
  const char* const end = at + inputs.steps * kStepBytes;
  if (inputs.how == Together::kTwo) {
    for (; at + kStepBytes < end; at += 2 * kStepBytes) {
      const __m256i w = LoadHere(weights);
      const int8_t* second = weights + slice.step_bytes;
      Unroll<kRows>([&](auto r) __attribute__((always_inline)) {
        const char *x = at + r * 4, *y = x + kStepBytes;
        if constexpr (kVectors == 1)
          MultiplyAddEight(x, y, w, second, ones, sums[r][0]);
        else
          MultiplyAddEights(x, y, w, weights, second, ones, sums[r][0], sums[r][1]);
      });
      weights = second + slice.step_bytes;
    }
  }
  for (; at < end; at += kStepBytes, weights += slice.step_bytes) one(at, weights);
  for (int32_t i = 0; i < apart.Count(); ++i)
    one(apart.Inputs() + i * kStepBytes, slice.weights + apart.Step(i) * slice.step_bytes);
  StoreTile2<kRows, kVectors>(tile, slice, finish, sums);
}

using RunPairTile = void (*)(const Tile<uint8_t>&, const Slice2&, const PairInputs&,
                             const StepsApart&, const Finish2&);

template <int kVectors, size_t... kRows>
constexpr std::array<RunPairTile, sizeof...(kRows)> PairTiles(std::index_sequence<kRows...>) {
  return {RunPairs<static_cast<int>(kRows) + 1, kVectors>...};
}

using PairBlocks = Blocks<uint8_t, 4, kPairRows>;

// One convolution: its tiles two steps at a time until too many are taken out, then step by step,
// until too many of these are split; then by words.
class PairConv {
 public:
  PairConv(const Conv8Args& args, void* scratch)
      : args_(args),
        plan_(RoundUp(args.shape.Depth(), 4)),
        finish_(args.requantise),
        tiles_(static_cast<char*>(scratch) + RoundUp(PairBlocks(args.shape).ScratchBytes(), 64)),
        sums_(tiles_ + PairBlocks(args.shape).tiles * plan_.TileBytes()),
        apart_(sums_ + plan_.SlicesBytes(), plan_.steps) {}

  static int64_t ScratchBytes(const ConvShape& shape) {
    const PairBlocks blocks(shape);
    const PairPlan plan(RoundUp(shape.Depth(), 4));
    return RoundUp(blocks.ScratchBytes(), 64) + blocks.tiles * plan.TileBytes() +
           plan.SlicesBytes() + plan.OutBytes();
  }

  void Prepare(const Tile<uint8_t>& tile) const {
    FetchOutputs(tile, 0, args_.shape.out_channels);
    by_words_ ? WidenTile2(tile, Place(tile)) : InterleaveTile(tile, Inputs(tile));
  }

  void Run(const Tile<uint8_t>& tile, int32_t group, int32_t column, int32_t width) {
    if (tile.number == 0) ChooseHow();
    if (widens_) WidenTile2(tile, Place(tile));  // in the midst of a block
    if (by_words_) return RunWords<false>(args_, finish_, tile, Place(tile), group, column, width);
    RunPanel(tile, group, column, width);
  }

 private:
  char* Place(const Tile<uint8_t>& tile) const { return tiles_ + tile.number * plan_.TileBytes(); }
  PairTile Inputs(const Tile<uint8_t>& tile) const {
    return {Place(tile), Place(tile) + plan_.InputBytes()};
  }

  void ChooseHow() {
    widens_ = false;
    if (how_ == Together::kTwo && steps_apart_ * kMostOut > all_steps_) {
      how_ = Together::kOne;
      steps_apart_ = all_steps_ = 0;
    }
    if (how_ == Together::kOne && !by_words_ && steps_apart_ * kMostSplit > all_steps_)
      by_words_ = widens_ = true;
  }

  // Brings what a panel of a tile reads and writes behind its sums closer, a block ahead: no
  // processor foresees lines so far apart.
  void FetchOutputs(const Tile<uint8_t>& tile, int32_t column, int32_t channels) const {
    if (column >= channels) return;
    for (int32_t r = 0; r < tile.count; ++r) {
      _mm_prefetch(tile.out[r] + column, _MM_HINT_T0);
      if (finish_.adds) _mm_prefetch(tile.residual[r] + column, _MM_HINT_T0);
    }
  }

  void RunPanel(const Tile<uint8_t>& tile, int32_t group, int32_t column, int32_t width) {
    static constexpr auto kOne = PairTiles<1>(std::make_index_sequence<kPairRows>());
    static constexpr auto kTwo = PairTiles<2>(std::make_index_sequence<kPairRows>());
    const ConvShape& shape = args_.shape;
    const Requantise& how = args_.requantise;
    const int32_t panel = PanelWidth(shape.out_channels - column);
    const int8_t* weights = static_cast<const int8_t*>(args_.weights) + group * Group8Bytes(shape) +
                            column * plan_.steps * 4;
    const PairTile inputs = Inputs(tile);
    FetchOutputs(tile, column + kPanel, shape.out_channels);
    for (int32_t c = 0; c < width; c += kSlice2) {
      const int64_t at = group * RoundUp(shape.out_channels, kChannelBlock) + column + c;
      const Slice2 slice{weights + c * 4,     panel * 4,  how.bias + at,
                         how.multiplier + at, column + c, std::min(kSlice2, width - c)};
      char* sums = sums_ + c / kSlice2 * plan_.LimitBytes();
      if (tile.number == 0) SignedSums(slice.weights, slice.step_bytes, plan_.steps, sums);
      apart_.TakeOut(inputs, sums, plan_.steps, how_);
      steps_apart_ += apart_.Count(), all_steps_ += plan_.steps;
      const RunPairTile* run = slice.columns > 8 ? kTwo.data() : kOne.data();
      run[tile.count - 1](tile, slice, {inputs.inputs, plan_.steps, how_}, apart_, finish_);
      apart_.PutBack(inputs);
    }
  }

  const Conv8Args& args_;
  const PairPlan plan_;
  const Finish2 finish_;
  char *tiles_, *sums_;
  StepsApart apart_;
  int64_t steps_apart_ = 0, all_steps_ = 0;
  Together how_ = Together::kTwo;
  bool by_words_ = false;
  bool widens_ = false;  // the panel with which words begin
};

inline void PairConvBytes(const Conv8Args& args, Range rows, Range columns, void* scratch) {
  PairConv conv(args, scratch);
  RunBlocks<uint8_t, 4, kPairRows>(
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
