// Depthwise convolution of bytes by AVX2: for each output row and 16 channels, four input rows are
// interleaved and widened once, so that vpmaddwd takes two taps of a column at a time.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "deploy/engine/runtime/kernels/avx2/conv8_inl.h"
#include "deploy/engine/runtime/kernels/generic/depthwise_inl.h"

namespace ds::engine {
namespace {

constexpr int32_t kLaneChannels = 16;
constexpr int64_t kWideColumn = 4 * 32;      // of a row group: four vectors
constexpr int64_t kWideBytes = 32 << 10;     // aimed at: within the first-level cache
constexpr int64_t kMostWideBytes = 1 << 20;  // needed by one output: beyond, plain loops
constexpr int64_t kMostWideWeights = 32 << 10;

// Scratch: widened weights of 16 channels, then columns [column][row group][vector].
struct WidePlan {
  explicit WidePlan(const ConvShape& s) : groups(RowGroups(s)) {
    reach = int64_t{s.kernel_w - 1} * s.dilation_w + 1;
    weight_bytes = int64_t{s.kernel_w} * groups * kWideColumn;
    const int64_t column = groups * kWideColumn;
    outputs = static_cast<int32_t>(
        std::clamp<int64_t>((kWideBytes / column - reach) / s.stride_w, 2, std::max(s.out_w, 2)));
    columns = (outputs - 1) * int64_t{s.stride_w} + reach;
    fits = columns * column <= kMostWideBytes && weight_bytes <= kMostWideWeights;
  }
  int64_t ScratchBytes() const {
    return fits ? RoundUp(weight_bytes + columns * groups * kWideColumn, 64) : 0;
  }

  int32_t groups;
  int64_t reach;    // columns that one output needs
  int32_t outputs;  // computed from one filling
  int64_t columns, weight_bytes;
  bool fits;
};

inline int64_t Avx2DepthwiseScratch(const ConvShape& shape) {
  return WidePlan(shape).ScratchBytes();
}

struct LaneBlock {
  const Depthwise8Args* args;
  const WidePlan* plan;
  int32_t first, count;  // channels
  const int16_t* weights;
  char* columns;
};

// The first `count` of 16 bytes; the rest are zeros.
inline __m128i LoadSome(const char* from, int32_t count) {
  if (count >= kLaneChannels) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  alignas(16) char some[kLaneChannels] = {};
  std::memcpy(some, from, static_cast<size_t>(count));
  return _mm_load_si128(reinterpret_cast<const __m128i*>(some));
}

inline void StoreWide(char* to, __m128i bytes) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_cvtepu8_epi16(bytes));
}

// The columns of output pixels from `x` on.
inline void InterleaveWide(const LaneBlock& block, Pixel at, int64_t columns) {
  const ConvShape& s = block.args->shape;
  const ImageIn& input = block.args->input;
  const int32_t groups = block.plan->groups, count = block.count, in_w = s.in_w;
  const int64_t pixel = input.pixel_stride;
  const __m128i padding = _mm_set1_epi8(static_cast<char>(block.args->pad_value));
  const int32_t first_x = InputX(s, at.x, 0);
  for (int32_t g = 0; g < groups; ++g) {
    const char* lines[kRowGroup];
    for (int32_t r = 0; r < kRowGroup; ++r) {
      const int32_t ky = g * kRowGroup + r, y = InputY(s, at.y, ky);
      const bool inside = ky < s.kernel_h && Within(y, s.in_h);
      lines[r] = inside ? At<char>(input, {at.image, y, 0}) + block.first : nullptr;
    }
    char* to = block.columns + g * kWideColumn;
    for (int64_t i = 0; i < columns; ++i, to += groups * kWideColumn) {
      const int64_t x = first_x + i;
      const bool inside = x >= 0 && x < in_w;
      __m128i rows[kRowGroup];
      Unroll<kRowGroup>([&](auto r) {
        rows[r] = inside && lines[r] ? LoadSome(lines[r] + x * pixel, count) : padding;
      });
      const __m128i a = _mm_unpacklo_epi8(rows[0], rows[1]);
      const __m128i b = _mm_unpackhi_epi8(rows[0], rows[1]);
      const __m128i c = _mm_unpacklo_epi8(rows[2], rows[3]);
      const __m128i d = _mm_unpackhi_epi8(rows[2], rows[3]);
      StoreWide(to, _mm_unpacklo_epi16(a, c));
      StoreWide(to + 32, _mm_unpackhi_epi16(a, c));
      StoreWide(to + 64, _mm_unpacklo_epi16(b, d));
      StoreWide(to + 96, _mm_unpackhi_epi16(b, d));
    }
  }
}

// kCount outputs side by side, the first from `columns` on.
template <int kCount>
void SumWide(const LaneBlock& block, const StoreBytes2& store, const char* columns, char* out) {
  const Depthwise8Args& args = *block.args;
  const ConvShape& s = args.shape;
  const int64_t column = block.plan->groups * kWideColumn;
  const int64_t next = column * s.stride_w, right = column * s.dilation_w;
  const int32_t kernel_w = s.kernel_w;
  __m256i sums[kCount][4];
  Unroll<kCount>([&](auto i) { Unroll<4>([&](auto v) { sums[i][v] = _mm256_setzero_si256(); }); });
  const int16_t* weights = block.weights;
  for (int32_t kx = 0; kx < kernel_w; ++kx, columns += right) {
    for (int64_t at = 0; at < column; at += kWideColumn, weights += 64) {
      Unroll<4>([&](auto v) {
        const __m256i w = _mm256_load_si256(reinterpret_cast<const __m256i*>(weights + v * 16));
        Unroll<kCount>([&](auto i) {
          const __m256i x = _mm256_loadu_si256(
              reinterpret_cast<const __m256i*>(columns + at + i * next + v * 32));
          sums[i][v] = _mm256_add_epi32(sums[i][v], _mm256_madd_epi16(x, w));
        });
      });
    }
  }
  const Requantise& how = args.requantise;
  Unroll<2>([&](auto half) {
    const int32_t left = block.count - half * kChannels2;
    if (left <= 0) return;
    const int32_t channel = block.first + half * kChannels2;
    const __m256i bias = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(how.bias + channel));
    const __m256 multiplier = _mm256_loadu_ps(how.multiplier + channel);
    Unroll<kCount>([&](auto i) {
      const __m256i both = _mm256_permute4x64_epi64(
          _mm256_hadd_epi32(sums[i][2 * half], sums[i][2 * half + 1]), 0xd8);
      store(_mm256_add_epi32(both, bias), multiplier, std::min(kChannels2, left),
            out + i * args.output.pixel_stride + channel);
    });
  });
}

inline void DepthwiseRow2(const LaneBlock& block, const StoreBytes2& store, Pixel at) {
  const Depthwise8Args& args = *block.args;
  const ConvShape& s = args.shape;
  const WidePlan& plan = *block.plan;
  const int64_t next = plan.groups * kWideColumn * s.stride_w;
  const int32_t out_w = s.out_w;
  for (; at.x < out_w; at.x += plan.outputs) {
    const int32_t count = std::min(plan.outputs, out_w - at.x);
    InterleaveWide(block, at, (count - 1) * int64_t{s.stride_w} + plan.reach);
    char* out = At<char>(args.output, at);
    for (int32_t x = 0; x < count; x += 2, out += 2 * args.output.pixel_stride) {
      if (x + 1 < count)
        SumWide<2>(block, store, block.columns + x * next, out);
      else
        SumWide<1>(block, store, block.columns + x * next, out);
    }
  }
}

// Sixteen channels' weights, from the order of DepthwisePlace() to that of the columns.
inline void WidenWeights(const ConvShape& s, const int8_t* packed, int32_t lane, int16_t* wide) {
  for (int64_t at = 0; at < DepthwiseBlockBytes(s); at += 64) {
    const __m128i some =
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(packed + at + lane * kLaneChannels));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(wide + at / 4), _mm256_cvtepi8_epi16(some));
  }
}

inline void Avx2Depthwise8(const Depthwise8Args& args, Range rows, void* scratch) {
  const ConvShape& s = args.shape;
  const Requantise& how = args.requantise;
  const WidePlan plan(s);
  if (!plan.fits) return PlainDepthwise8(args, rows, scratch);
  const StoreBytes2 store(how);
  int16_t* weights = static_cast<int16_t*>(scratch);
  LaneBlock block{&args, &plan, 0, 0, weights, static_cast<char*>(scratch) + plan.weight_bytes};
  for (; block.first < s.groups; block.first += kLaneChannels) {
    block.count = std::min(kLaneChannels, s.groups - block.first);
    const int64_t number = block.first / kDepthwiseBlock;
    WidenWeights(s, static_cast<const int8_t*>(args.weights) + number * DepthwiseBlockBytes(s),
                 block.first % static_cast<int32_t>(kDepthwiseBlock) / kLaneChannels, weights);
    for (int32_t row = rows.begin; row < rows.end; ++row) {
      Pixel at{row / s.out_h, row % s.out_h, 0};
      DepthwiseRow2(block, store, at);
      for (; (how.table || how.add) && at.x < s.out_w; ++at.x) {
        uint8_t* out = At<uint8_t>(args.output, at) + block.first;
        if (how.table) LookupRow(how.table, out, block.count, out);
        if (how.add) {
          AddRow(*how.add, out, At<uint8_t>(how.residual, at) + block.first, block.count, out);
        }
      }
    }
  }
}

}  // namespace
}  // namespace ds::engine
