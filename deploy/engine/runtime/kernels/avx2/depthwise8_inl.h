// Depthwise convolution of bytes by AVX2. For each output row four input rows are interleaved once,
// so that a channel's four taps of a column are adjacent, as DepthwisePlace() has its weights.
// Products of bytes in pairs (vpmaddubsw) would saturate; weights are split into 16 * high + low
// with both halves within -8..8, whose sums are exact in 16 bits over 16 taps. 3x3: see
// depthwise3_inl.h.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "deploy/engine/runtime/kernels/avx2/finish8_inl.h"
#include "deploy/engine/runtime/kernels/generic/depthwise_inl.h"
#include "deploy/engine/runtime/kernels/generic/unroll_inl.h"

namespace ds::engine {
namespace {

constexpr int32_t kLaneChannels = 32;        // at a time: four vectors of eight channels
constexpr int64_t kLaneColumn = 4 * 32;      // bytes of a column of four rows
constexpr int64_t kLaneBytes = 12 << 10;     // columns aimed at: within the first-level cache
constexpr int64_t kMostLaneBytes = 1 << 20;  // needed by one output: beyond, plain loops
constexpr int64_t kMostHalves = 4 << 20;     // of weights
constexpr int32_t kMostTaps = 16;            // 255 * 8 * kMostTaps fits 16 bits

// Scratch: for each 32 channels their weights' halves, bias and multipliers; then columns [column]
// [row group][vector].
struct LanePlan {
  // Columns of `column` bytes.
  LanePlan(const ConvShape& s, int64_t column) : groups(RowGroups(s)) {
    const int32_t rest = s.kernel_h % kRowGroup;
    const int32_t taps = 2 * (s.kernel_h / kRowGroup) + std::min(rest, 2);
    flush = kMostTaps / taps;
    reach = int64_t{s.kernel_w - 1} * s.dilation_w + 1;
    half_bytes = int64_t{s.kernel_w} * groups * kLaneColumn;
    block_bytes = 2 * half_bytes + 2 * kLaneColumn;
    const int64_t blocks = (s.groups + kLaneChannels - 1) / kLaneChannels;
    weight_bytes = blocks * block_bytes;
    column_bytes = column;
    outputs = static_cast<int32_t>(
        std::clamp<int64_t>((kLaneBytes / column - reach) / s.stride_w, 2, std::max(s.out_w, 2)));
    columns = (outputs - 1) * int64_t{s.stride_w} + reach;
    fits = flush > 0 && columns * column <= kMostLaneBytes && weight_bytes <= kMostHalves;
  }
  int64_t ScratchBytes() const { return fits ? weight_bytes + columns * column_bytes : 0; }

  int32_t groups;
  int32_t flush;    // columns of a filter whose sums fit 16 bits
  int64_t reach;    // columns that one output needs
  int32_t outputs;  // computed from one filling
  int64_t half_bytes, block_bytes, weight_bytes, column_bytes, columns;
  bool fits;
};

// 32 channels with what WriteBlock() made of their weights.
struct LaneBlock {
  const Depthwise8Args* args;
  const LanePlan* plan;
  int32_t first, count;  // channels
  const char* weights;   // [kernel_x][row group][vector][high, low]
  const char* follow;    // bias, then multipliers, of each vector
  char* columns;
  __m256i sixteen, one;                  // words
  const PlainBytes256* plain = nullptr;  // where multipliers are small
};

// A pixel's bytes through the table, to `out`, its first channel.
[[gnu::always_inline]] inline void StoreLanes(const LaneBlock& block, __m256i bytes, char* out) {
  const uint8_t* const table = block.args->requantise.table;
  if (table) bytes = Lookup256(table, bytes);
  auto* to = reinterpret_cast<uint8_t*>(out) + block.first;
  if (block.count == kLaneChannels)
    Store256(to, bytes);
  else
    StoreFirst32(to, bytes, block.count);
}

// Eight channels of vector `v` of 32, of an array of words of 32 bits.
inline __m256i EightOf(const void* words, int64_t v) {
  const char* from = static_cast<const char*>(words) + v * 16;
  return _mm256_inserti128_si256(_mm256_castsi128_si256(Load128(from)), Load128(from + 64), 1);
}

inline void WriteBlock(const Depthwise8Args& args, const LanePlan& plan, int32_t first, char* to) {
  const int64_t number = first / kDepthwiseBlock, half = first % kDepthwiseBlock / kLaneChannels;
  const char* packed =
      static_cast<const char*>(args.weights) + number * DepthwiseBlockBytes(args.shape) + half * 32;
  const __m256i nibble = _mm256_set1_epi8(15), sign = _mm256_set1_epi8(8);
  const auto signed_nibble = [&](__m256i bytes) {
    return _mm256_sub_epi8(_mm256_xor_si256(_mm256_and_si256(bytes, nibble), sign), sign);
  };
  for (int64_t at = 0; at < plan.half_bytes; at += 32, packed += 64, to += 64) {
    const __m256i weights = Load256(packed);
    const __m256i carry = _mm256_and_si256(_mm256_srli_epi16(weights, 3), _mm256_set1_epi8(1));
    Store256(to, _mm256_add_epi8(signed_nibble(_mm256_srli_epi16(weights, 4)), carry));
    Store256(to + 32, signed_nibble(weights));
  }
  for (int64_t v = 0; v < 4; ++v, to += 64) {
    Store256(to, EightOf(args.requantise.bias + first, v));
    Store256(to + 32, EightOf(args.requantise.multiplier + first, v));
  }
}

// The columns of output pixels from `at` on.
inline void InterleaveLanes(const LaneBlock& block, Pixel at, int64_t columns) {
  const ConvShape& s = block.args->shape;
  const ImageIn& input = block.args->input;
  const int32_t groups = block.plan->groups;
  const int64_t pixel = input.pixel_stride, step = groups * kLaneColumn;
  alignas(32) uint8_t padding[32];
  std::fill_n(padding, 32, block.args->pad_value);
  const int64_t first_x = InputX(s, at.x, 0);
  const int64_t left = std::clamp<int64_t>(-first_x, 0, columns);
  const int64_t right = std::clamp<int64_t>(s.in_w - first_x, left, columns);
  for (int32_t g = 0; g < groups; ++g) {
    const uint8_t* lines[kRowGroup];
    int64_t next[kRowGroup];
    for (int32_t r = 0; r < kRowGroup; ++r) {
      const int32_t ky = g * kRowGroup + r, y = InputY(s, at.y, ky);
      const bool inside = ky < s.kernel_h && Within(y, s.in_h) && left < right;
      next[r] = inside ? pixel : 0;
      lines[r] = padding;
      if (inside)
        lines[r] =
            At<uint8_t>(input, {at.image, y, static_cast<int32_t>(first_x + left)}) + block.first;
    }
    char* to = block.columns + g * kLaneColumn;
    const __m256i outside = Load256(padding);
    const auto fill = [&](int64_t i) {
      for (int64_t v = 0; v < 4; ++v) Store256(to + i * step + v * 32, outside);
    };
    for (int64_t i = 0; i < left; ++i) fill(i);
    for (int64_t i = right; i < columns; ++i) fill(i);
    const uint8_t *p0 = lines[0], *p1 = lines[1], *p2 = lines[2], *p3 = lines[3];
    const int64_t n0 = next[0], n1 = next[1], n2 = next[2], n3 = next[3];
    to += left * step;
    for (int64_t i = left; i < right; ++i, to += step) {
      const __m256i r0 = Load256(p0), r1 = Load256(p1), r2 = Load256(p2), r3 = Load256(p3);
      p0 += n0, p1 += n1, p2 += n2, p3 += n3;
      const __m256i a = _mm256_unpacklo_epi8(r0, r1), b = _mm256_unpackhi_epi8(r0, r1);
      const __m256i c = _mm256_unpacklo_epi8(r2, r3), d = _mm256_unpackhi_epi8(r2, r3);
      Store256(to, _mm256_unpacklo_epi16(a, c));
      Store256(to + 32, _mm256_unpackhi_epi16(a, c));
      Store256(to + 64, _mm256_unpacklo_epi16(b, d));
      Store256(to + 96, _mm256_unpackhi_epi16(b, d));
    }
  }
}

// A filter's extent where it is known when compiled, so that its loops are unrolled; 0: not.
template <int kWidth, int kGroups>
struct Extent {
  static constexpr int kColumns = kWidth, kRowGroups = kGroups;
};

// Sums of words, of the high and the low halves of weights, for kCount outputs.
template <int kCount>
struct HalfSums {
  HalfSums() {
    Unroll<kCount>([&](auto i) { high[i] = low[i] = _mm256_setzero_si256(); });
  }
  [[gnu::always_inline]] void Add(const char* columns, int64_t next, const char* weights) {
    const __m256i w_high = Load256(weights), w_low = Load256(weights + 32);
    Unroll<kCount>([&](auto i) {
      const __m256i x = Load256(columns + i * next);
      high[i] = _mm256_add_epi16(high[i], _mm256_maddubs_epi16(x, w_high));
      low[i] = _mm256_add_epi16(low[i], _mm256_maddubs_epi16(x, w_low));
    });
  }
  [[gnu::always_inline]] void AddTo(const LaneBlock& block, __m256i (&sums)[kCount]) const {
    Unroll<kCount>([&](auto i) {
      const __m256i both = _mm256_add_epi32(_mm256_madd_epi16(high[i], block.sixteen),
                                            _mm256_madd_epi16(low[i], block.one));
      sums[i] = _mm256_add_epi32(sums[i], both);
    });
  }

  __m256i high[kCount], low[kCount];
};

// Adds the sums of a vector of kCount outputs side by side. `columns` and `weights` are the
// vector's.
template <int kCount, typename E>
[[gnu::always_inline]] inline void SumVector(const LaneBlock& block, const char* columns,
                                             const char* weights, __m256i (&sums)[kCount]) {
  const ConvShape& s = block.args->shape;
  const int64_t column = (E::kRowGroups ? E::kRowGroups : block.plan->groups) * kLaneColumn;
  const int64_t next = column * s.stride_w, right = column * s.dilation_w;
  if constexpr (E::kColumns > 0) {
    HalfSums<kCount> half;
    Unroll<E::kColumns>([&](auto kx) {
      Unroll<E::kRowGroups>([&](auto g) {
        half.Add(columns + kx * right + g * kLaneColumn, next,
                 weights + (kx * E::kRowGroups + g) * 2 * kLaneColumn);
      });
    });
    half.AddTo(block, sums);
  } else {
    for (int32_t kx = 0; kx < s.kernel_w;) {
      HalfSums<kCount> half;
      for (const int32_t end = std::min(kx + block.plan->flush, s.kernel_w); kx < end; ++kx) {
        const char* from = columns + kx * right;
        if constexpr (E::kRowGroups > 0) {
          Unroll<E::kRowGroups>([&](auto g) {
            half.Add(from + g * kLaneColumn, next, weights + g * 2 * kLaneColumn);
          });
          weights += E::kRowGroups * 2 * kLaneColumn;
        } else {
          for (int64_t at = 0; at < column; at += kLaneColumn, weights += 2 * kLaneColumn)
            half.Add(from + at, next, weights);
        }
      }
      half.AddTo(block, sums);
    }
  }
}

// kCount outputs side by side, the first from `columns` on.
template <int kCount, typename E>
void SumLanes(const LaneBlock& block, const ToBytes256& to_bytes, const char* columns, char* out) {
  const Depthwise8Args& args = *block.args;
  __m256 values[kCount][4];
  Unroll<4>([&](auto v) {
    __m256i sums[kCount];
    const __m256i bias = Load256(block.follow + v * 64);
    Unroll<kCount>([&](auto i) { sums[i] = bias; });
    SumVector<kCount, E>(block, columns + v * 32, block.weights + v * 64, sums);
    const __m256 multiplier = _mm256_castsi256_ps(Load256(block.follow + v * 64 + 32));
    Unroll<kCount>([&](auto i) { values[i][v] = Scaled(sums[i], multiplier); });
  });
  Unroll<kCount>([&](auto i) {
    const __m256i bytes = to_bytes.Lanes(values[i][0], values[i][1], values[i][2], values[i][3]);
    StoreLanes(block, bytes, out + i * args.output.pixel_stride);
  });
}

template <typename E>
void DepthwiseRow2(const LaneBlock& block, const ToBytes256& to_bytes, Pixel at) {
  const Depthwise8Args& args = *block.args;
  const ConvShape& s = args.shape;
  const LanePlan& plan = *block.plan;
  const int64_t next = plan.groups * kLaneColumn * s.stride_w;
  const int32_t out_w = s.out_w;
  for (; at.x < out_w; at.x += plan.outputs) {
    const int32_t count = std::min(plan.outputs, out_w - at.x);
    InterleaveLanes(block, at, (count - 1) * int64_t{s.stride_w} + plan.reach);
    char* out = At<char>(args.output, at);
    for (int32_t x = 0; x < count; x += 2, out += 2 * args.output.pixel_stride) {
      if (x + 1 < count)
        SumLanes<2, E>(block, to_bytes, block.columns + x * next, out);
      else
        SumLanes<1, E>(block, to_bytes, block.columns + x * next, out);
    }
  }
}

}  // namespace
}  // namespace ds::engine
