// Depthwise 3x3 of bytes by AVX2, exact in words: of each column of three input rows, widened, the
// first two are interleaved, and the third with its right neighbour, so that five products of pairs
// (vpmaddwd) make nine taps, where halves of weights take six of bytes and two of words. And the
// choice between both ways.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "deploy/engine/runtime/kernels/avx2/depthwise8_inl.h"

namespace ds::engine {
namespace {

constexpr int64_t kThreeColumn = 2 * kLaneColumn;  // pairs of rows, then pairs of columns
constexpr int64_t kThreeVector = 7 * 32;           // five of weights, bias, multipliers

inline bool ThreeSuits(const ConvShape& s) {
  return s.kernel_h == 3 && s.kernel_w == 3 && s.dilation_w == 1;
}

// Of 32 channels: [vector][five pairs of weights, bias, multipliers].
inline void WriteThree(const Depthwise8Args& args, int32_t first, char* to) {
  const int64_t number = first / kDepthwiseBlock, half = first % kDepthwiseBlock / kLaneChannels;
  const char* packed =
      static_cast<const char*>(args.weights) + number * DepthwiseBlockBytes(args.shape) + half * 32;
  for (int64_t v = 0; v < 4; ++v, packed += 64, to += kThreeVector) {
    __m256i even[3];  // rows 0 and 2 of each column's weights
    for (int64_t kx = 0; kx < 3; ++kx) {
      const __m256i w = Load256(packed + kx * 4 * kDepthwiseBlock);
      even[kx] = _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8);
      const __m256i odd = _mm256_slli_epi32(_mm256_srai_epi16(w, 8), 16);
      Store256(to + kx * 32, _mm256_blend_epi16(even[kx], odd, 0xaa));
    }
    Store256(to + 3 * 32, _mm256_blend_epi16(_mm256_srli_epi32(even[0], 16), even[1], 0xaa));
    Store256(to + 4 * 32, _mm256_srli_epi32(even[2], 16));
    Store256(to + 5 * 32, EightOf(args.requantise.bias + first, v));
    Store256(to + 6 * 32, EightOf(args.requantise.multiplier + first, v));
  }
}

// The bytes of a and b interleaved as words: four vectors.
inline void StorePairs(char* to, __m256i a, __m256i b) {
  const __m256i zero = _mm256_setzero_si256();
  const __m256i low = _mm256_unpacklo_epi8(a, b), high = _mm256_unpackhi_epi8(a, b);
  Store256(to, _mm256_unpacklo_epi8(low, zero));
  Store256(to + 32, _mm256_unpackhi_epi8(low, zero));
  Store256(to + 64, _mm256_unpacklo_epi8(high, zero));
  Store256(to + 96, _mm256_unpackhi_epi8(high, zero));
}

// The columns of output pixels from `at` on; what stands beside the last one's third row is any
// value, since its weight is 0.
inline void InterleaveThree(const LaneBlock& block, Pixel at, int64_t columns) {
  const ConvShape& s = block.args->shape;
  const ImageIn& input = block.args->input;
  alignas(32) uint8_t padding[32];
  std::fill_n(padding, 32, block.args->pad_value);
  const __m256i outside = Load256(padding);
  const int64_t first_x = InputX(s, at.x, 0);
  const int64_t left = std::clamp<int64_t>(-first_x, 0, columns);
  const int64_t right = std::clamp<int64_t>(s.in_w - first_x, left, columns);
  const uint8_t* lines[3];
  int64_t next[3];
  for (int32_t r = 0; r < 3; ++r) {
    const int32_t y = InputY(s, at.y, r);
    const bool inside = Within(y, s.in_h) && left < right;
    next[r] = inside ? input.pixel_stride : 0;
    lines[r] = padding;
    if (inside)
      lines[r] =
          At<uint8_t>(input, {at.image, y, static_cast<int32_t>(first_x + left)}) + block.first;
  }
  const uint8_t *p0 = lines[0], *p1 = lines[1], *p2 = lines[2];
  const int64_t n0 = next[0], n1 = next[1], n2 = next[2];
  char* to = block.columns;
  __m256i third = outside;
  for (int64_t i = 0; i < left; ++i, to += kThreeColumn) {
    third = i + 1 == left && left < right ? Load256(p2) : outside;
    StorePairs(to, outside, outside);
    StorePairs(to + kLaneColumn, outside, third);
  }
  if (left < right) third = Load256(p2);
  for (int64_t i = left; i < right; ++i, to += kThreeColumn) {
    StorePairs(to, Load256(p0), Load256(p1));
    p0 += n0, p1 += n1, p2 += n2;
    const __m256i beside = i + 1 < right ? Load256(p2) : outside;
    StorePairs(to + kLaneColumn, third, beside);
    third = beside;
  }
  for (int64_t i = right; i < columns; ++i, to += kThreeColumn) {
    StorePairs(to, outside, outside);
    StorePairs(to + kLaneColumn, outside, outside);
  }
}

// kCount outputs side by side, the first from `columns` on, the next one `next` bytes behind it.
template <int kCount>
void SumThree(const LaneBlock& block, const ToBytes256& to_bytes, const char* columns, int64_t next,
              char* out) {
  const Depthwise8Args& args = *block.args;
  __m256 values[kCount][4];
  Unroll<4>([&](auto v) __attribute__((always_inline)) {
    const char* weights = block.weights + v * kThreeVector;
    __m256i sums[kCount];
    const __m256i bias = Load256(weights + 5 * 32);
    Unroll<kCount>([&](auto i) { sums[i] = bias; });
    // The places of a pair's inputs.
    constexpr int64_t kPlaces[5] = {0, kThreeColumn, 2 * kThreeColumn, kLaneColumn,
                                    2 * kThreeColumn + kLaneColumn};
    Unroll<5>([&](auto pair) __attribute__((always_inline)) {
      const __m256i w = Load256(weights + pair * 32);
      Unroll<kCount>([&](auto i) __attribute__((always_inline)) {
        const __m256i x = Load256(columns + i * next + kPlaces[pair] + v * 32);
        sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(w, x));
      });
    });
    const __m256 multiplier = _mm256_castsi256_ps(Load256(weights + 6 * 32));
    Unroll<kCount>([&](auto i) { values[i][v] = Scaled(sums[i], multiplier); });
  });
  Unroll<kCount>([&](auto i) __attribute__((always_inline)) {
    __m256i bytes;
    if (block.plain)
      bytes = block.plain->Bytes(block.plain->Words(values[i][0], values[i][1]),
                                 block.plain->Words(values[i][2], values[i][3]));
    else
      bytes = to_bytes.Lanes(values[i][0], values[i][1], values[i][2], values[i][3]);
    StoreLanes(block, bytes, out + i * args.output.pixel_stride);
  });
}

inline void DepthwiseRowOfThree(const LaneBlock& block, const ToBytes256& to_bytes, Pixel at) {
  const Depthwise8Args& args = *block.args;
  const ConvShape& s = args.shape;
  const LanePlan& plan = *block.plan;
  const int64_t next = kThreeColumn * s.stride_w;
  for (; at.x < s.out_w; at.x += plan.outputs) {
    const int32_t count = std::min(plan.outputs, s.out_w - at.x);
    InterleaveThree(block, at, (count - 1) * int64_t{s.stride_w} + plan.reach);
    char* out = At<char>(args.output, at);
    for (int32_t x = 0; x < count; x += 2, out += 2 * args.output.pixel_stride) {
      const char* columns = block.columns + x * next;
      if (x + 1 < count)
        SumThree<2>(block, to_bytes, columns, next, out);
      else
        SumThree<1>(block, to_bytes, columns, next, out);
    }
  }
}

inline LanePlan PlanLanes(const ConvShape& s) {
  return {s, ThreeSuits(s) ? kThreeColumn : RowGroups(s) * kLaneColumn};
}

inline int64_t Avx2DepthwiseScratch(const ConvShape& shape) {
  return PlanLanes(shape).ScratchBytes();
}

inline void Avx2Depthwise8(const Depthwise8Args& args, Range rows, void* scratch) {
  const ConvShape& s = args.shape;
  const Requantise& how = args.requantise;
  const LanePlan plan = PlanLanes(s);
  if (!plan.fits) return PlainDepthwise8(args, rows, scratch);
  const ToBytes256 to_bytes(how.zero_point, how.low, how.high);
  const PlainBytes256 plain(how.zero_point, how.low, how.high);
  const bool small = AreSmall(how.multiplier, RoundUp(s.groups, kDepthwiseBlock));
  const Adder256 adder(how.add ? *how.add : Add8());
  const bool three = ThreeSuits(s);
  const auto row_of = three                                 ? DepthwiseRowOfThree
                      : s.kernel_w == 3 && plan.groups == 1 ? DepthwiseRow2<Extent<3, 1>>
                      : plan.groups == 2                    ? DepthwiseRow2<Extent<0, 2>>
                                                            : DepthwiseRow2<Extent<0, 0>>;
  char* blocks = static_cast<char*>(scratch);
  for (int32_t first = 0; first < s.groups; first += kLaneChannels) {
    char* to = blocks + first / kLaneChannels * plan.block_bytes;
    three ? WriteThree(args, first, to) : WriteBlock(args, plan, first, to);
  }
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    Pixel at{row / s.out_h, row % s.out_h, 0};
    const char* weights = blocks;
    for (int32_t first = 0; first < s.groups; first += kLaneChannels, weights += plan.block_bytes) {
      row_of({&args, &plan, first, std::min(kLaneChannels, s.groups - first), weights,
              weights + 2 * plan.half_bytes, blocks + plan.weight_bytes, _mm256_set1_epi16(16),
              _mm256_set1_epi16(1), small ? &plain : nullptr},
             to_bytes, at);
    }
    for (; how.add && at.x < s.out_w; ++at.x) {
      uint8_t* out = At<uint8_t>(args.output, at);
      ZipRow256(out, At<uint8_t>(how.residual, at), s.groups, out, adder);
    }
  }
}

}  // namespace
}  // namespace ds::engine
