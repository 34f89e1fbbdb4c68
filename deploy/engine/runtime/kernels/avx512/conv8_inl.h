// Matrix product of bytes by VNNI: a tile of 14 pixels by 32 channels keeps 28 sums in registers,
// so that a step of the depth takes 28 vpdpbusd for 2 loads of weights and 14 broadcast loads.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

#include "deploy/engine/runtime/kernels/avx512/finish8_inl.h"
#include "deploy/engine/runtime/kernels/generic/blocks_inl.h"
#include "deploy/engine/runtime/kernels/generic/conv_inl.h"
#include "deploy/engine/runtime/kernels/generic/unroll_inl.h"

namespace ds::engine {
namespace {

constexpr int32_t kTileRows = 14;

// A panel: what a tile is multiplied by, and what follows.
struct Panel8Args {
  const int8_t* weights;
  const int32_t* bias;
  const float* multiplier;
  int64_t channel;  // of the group
  int32_t columns;
  const Requantise* how;
};

template <int kRows, int kVectors>
[[gnu::always_inline]] inline void StoreTile8(const Tile<uint8_t>& tile, const Panel8Args& panel,
                                              const __m512i (&sums)[kRows][kVectors]) {
  constexpr int kTogether = 4 / kVectors;  // rows that fill 64 bytes
  const ToBytes512 to_bytes(panel.how->zero_point, panel.how->low, panel.how->high);
  __m512 multiplier[kVectors];
  Unroll<kVectors>([&](auto v) { multiplier[v] = _mm512_loadu_ps(panel.multiplier + v * kLanes); });
  const __mmask32 mask = static_cast<__mmask32>(FirstLanes(panel.columns));
  Unroll<(kRows + kTogether - 1) / kTogether>([&](auto part) {
    constexpr int kFirst = part * kTogether;
    __m512 values[4];
    Unroll<4>([&](auto i) {
      constexpr int kRow = std::min(kFirst + i / kVectors, kRows - 1);
      values[i] = Scaled(sums[kRow][i % kVectors], multiplier[i % kVectors]);
    });
    const __m512i bytes = VectorAfterVector(to_bytes(values[0], values[1], values[2], values[3]));
    Unroll<kTogether>([&](auto r) {
      if constexpr (kFirst + r < kRows) {
        __m256i some;
        if constexpr (kVectors == 2)
          some = _mm512_extracti64x4_epi64(bytes, r);
        else
          some = _mm256_castsi128_si256(_mm512_extracti32x4_epi32(bytes, r));
        _mm256_mask_storeu_epi8(tile.out[kFirst + r] + panel.channel, mask, some);
      }
    });
  });
}

// Few rows leave time between their sums' steps: they take turns on several sums.
constexpr int SplitOf(int rows) { return rows == 1 ? 4 : rows <= 3 ? 2 : 1; }

// Of weights of 4 bits a step is 8 of the depth: the high halves of bytes are 16 times the weights
// as they are, the low ones once shifted, so that sums are 16 times too large until the end; they
// fit, as those of bytes do.
template <int kRows, int kVectors, bool kFour>
void RunTile8(const Tile<uint8_t>& tile, const Panel8Args& panel) {
  constexpr int kSplit = SplitOf(kRows);
  constexpr int64_t kDepth = kFour ? 8 : 4, kStep = kDepth * kSplit;
  const __m512i high_halves = _mm512_set1_epi8(static_cast<char>(0xf0));
  __m512i sums[kSplit][kRows][kVectors];
  Unroll<kVectors>([&](auto v) {
    const __m512i bias = _mm512_loadu_si512(panel.bias + v * kLanes);
    Unroll<kRows>([&](auto r) {
      Unroll<kSplit>(
          [&](auto s) { sums[s][r][v] = s == 0 && !kFour ? bias : _mm512_setzero_si512(); });
    });
  });
  const int8_t* weights = panel.weights;
  const uint8_t* const* pointers = tile.rows;
  const auto multiply = [&](int64_t k, auto s, const __m512i(&w)[kVectors])
      __attribute__((always_inline)) {
    Unroll<kRows>([&](auto r) {
      int32_t four;
      std::memcpy(&four, pointers[r] + k, sizeof(four));
      const __m512i a = _mm512_set1_epi32(four);
      Unroll<kVectors>([&](auto v) { sums[s][r][v] = Dot(sums[s][r][v], a, w[v]); });
    });
  };
  const auto step = [&](int64_t k, auto s) __attribute__((always_inline)) {
    __m512i w[kVectors], low[kVectors];
    Unroll<kVectors>([&](auto v) { w[v] = _mm512_loadu_si512(weights + v * 64); });
    weights += kVectors * 64;
    if constexpr (kFour) {
      Unroll<kVectors>([&](auto v) {
        low[v] = _mm512_and_si512(_mm512_slli_epi32(w[v], 4), high_halves);
        w[v] = _mm512_and_si512(w[v], high_halves);
      });
      multiply(k, s, low);
      multiply(k + 4, s, w);
    } else {
      multiply(k, s, w);
    }
  };
  for (int32_t tap = 0; tap < tile.taps; ++tap, pointers += kTilePointers) {
    int64_t k = 0;
    for (; k + kStep <= tile.run; k += kStep)
      Unroll<kSplit>([&](auto s) { step(k + kDepth * s, s); });
    if constexpr (kSplit > 1) {
      for (; k < tile.run; k += kDepth) step(k, std::integral_constant<int, 0>());
    }
  }
  Unroll<kVectors>([&](auto v) {
    Unroll<kRows>([&](auto r) {
      Unroll<kSplit - 1>(
          [&](auto s) { sums[0][r][v] = _mm512_add_epi32(sums[0][r][v], sums[s + 1][r][v]); });
      if constexpr (kFour) {
        const __m512i bias = _mm512_loadu_si512(panel.bias + v * kLanes);
        sums[0][r][v] = _mm512_add_epi32(_mm512_srai_epi32(sums[0][r][v], 4), bias);
      }
    });
  });
  StoreTile8<kRows, kVectors>(tile, panel, sums[0]);
}

using RunTile = void (*)(const Tile<uint8_t>&, const Panel8Args&);

template <int kVectors, bool kFour, size_t... kRows>
constexpr std::array<RunTile, kTileRows> TilesOf(std::index_sequence<kRows...>) {
  return {RunTile8<static_cast<int>(kRows) + 1, kVectors, kFour>...};
}

// For GatherRuns(): short runs in one piece.
struct Copy512 {
  [[gnu::always_inline]] void operator()(void* to, const void* from, int64_t bytes) const {
    if (bytes <= 16) {
      const __mmask16 mask = static_cast<__mmask16>((1u << bytes) - 1);
      _mm_storeu_si128(static_cast<__m128i*>(to), _mm_maskz_loadu_epi8(mask, from));
      return;
    }
    for (int64_t i = 0; i < bytes; i += 64) {
      const __mmask64 mask = FirstLanes(static_cast<int32_t>(std::min<int64_t>(bytes - i, 64)));
      _mm512_storeu_si512(static_cast<char*>(to) + i,
                          _mm512_maskz_loadu_epi8(mask, static_cast<const char*>(from) + i));
    }
  }
};

// Table and residual of a tile that was stored.
inline void FollowTile8(const Tile<uint8_t>& tile, const Panel8Args& panel) {
  const Requantise& how = *panel.how;
  const auto out = [&](int32_t r) {
    return reinterpret_cast<uint8_t*>(tile.out[r]) + panel.channel;
  };
  const auto residual = [&](int32_t r) {
    return reinterpret_cast<const uint8_t*>(tile.residual[r]) + panel.channel;
  };
  for (int32_t r = 0; how.table && r < tile.count; ++r)
    LookupRow512(how.table, out(r), panel.columns, out(r));
  for (int32_t r = 0; how.add && r < tile.count; r += 2) {
    const int32_t next = std::min(r + 1, tile.count - 1);
    AddTwoRows512(*how.add, {residual(r), residual(next)}, panel.columns, {out(r), out(next)});
  }
}

template <bool kFour>
void VnniConvBytes(const Conv8Args& args, Range rows, Range columns, void* scratch) {
  static constexpr auto kOne = TilesOf<1, kFour>(std::make_index_sequence<kTileRows>());
  static constexpr auto kTwo = TilesOf<2, kFour>(std::make_index_sequence<kTileRows>());
  const ConvShape& shape = args.shape;
  const Requantise& how = args.requantise;
  constexpr int32_t kStep = kFour ? 8 : 4;
  const int64_t column_bytes = RoundUp(shape.Depth(), kStep) / (kFour ? 2 : 1);
  const int64_t group_bytes = kFour ? Group4Bytes(shape) : Group8Bytes(shape);
  const int64_t padded = RoundUp(shape.out_channels, kChannelBlock);
  RunBlocks<uint8_t, kStep, kTileRows>(
      args, how.residual, args.pad_value, rows, columns, scratch, Copy512(),
      [](const Tile<uint8_t>&) {},
      [&](const Tile<uint8_t>& tile, int32_t group, int32_t column, int32_t width) {
        const Panel8Args panel{
            static_cast<const int8_t*>(args.weights) + group * group_bytes + column * column_bytes,
            how.bias + group * padded + column,
            how.multiplier + group * padded + column,
            column,
            width,
            &how};
        const bool half = PanelWidth(shape.out_channels - column) == kHalfPanel;
        (half ? kOne : kTwo)[static_cast<size_t>(tile.count - 1)](tile, panel);
        if (how.table || how.add) FollowTile8(tile, panel);
      });
}

inline int64_t VnniConvScratch(const ConvShape& shape) {
  return std::max({PlainConvScratch(shape), Blocks<uint8_t, 4, kTileRows>(shape).ScratchBytes(),
                   Blocks<uint8_t, 8, kTileRows>(shape).ScratchBytes()});
}

}  // namespace
}  // namespace ds::engine
