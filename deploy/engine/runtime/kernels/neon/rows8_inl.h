// Element-wise kernels on bytes, the ways in and out of them, and pools, by NEON.
#pragma once

#include <arm_neon.h>

#include <algorithm>
#include <cstdint>

#include "deploy/engine/runtime/kernels/generic/depthwise_inl.h"
#include "deploy/engine/runtime/kernels/generic/place_inl.h"
#include "deploy/engine/runtime/kernels/generic/rows_inl.h"
#include "deploy/engine/runtime/kernels/neon/finish8_inl.h"

namespace ds::engine {
namespace {

inline void NeonAdd8(const Add8Args& args, Range rows) {
  const Adder adder(args.add);
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    uint8_t* out = RowAt<uint8_t>(args.output, row);
    adder.Row(RowAt<uint8_t>(args.a, row), RowAt<uint8_t>(args.b, row), args.columns, out);
    if (args.add.table) CodeTable(args.add.table).Row(out, args.columns, out);
  }
}

// Products of two numbers in [-255, 255] need 18 bits.
[[gnu::always_inline]] inline float32x4x4_t Products(const int16x8x2_t& a, const int16x8x2_t& b) {
  float32x4x4_t products;
  for (int i = 0; i < 2; ++i) {
    const int16x8_t x = a.val[i], y = b.val[i];
    products.val[2 * i] = vcvtq_f32_s32(vmull_s16(vget_low_s16(x), vget_low_s16(y)));
    products.val[2 * i + 1] = vcvtq_f32_s32(vmull_high_s16(x, y));
  }
  return products;
}

inline void NeonMultiply8(const Multiply8Args& args, Range rows) {
  const Multiply8& how = args.multiply;
  const ToBytes to_bytes(how.zero_point, how.low, how.high);
  const int16x8_t zero_a = vdupq_n_s16(static_cast<int16_t>(how.zero_a));
  const int16x8_t zero_b = vdupq_n_s16(static_cast<int16_t>(how.zero_b));
  const float32x4_t ratio = vdupq_n_f32(how.ratio);
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    const uint8_t *a = RowAt<uint8_t>(args.a, row), *b = RowAt<uint8_t>(args.b, row);
    uint8_t* out = RowAt<uint8_t>(args.output, row);
    StoreRow(to_bytes, args.columns, out, [&](int32_t at, int32_t some) {
      return Scaled(Products(Centred(LoadSome(a + at, some), zero_a),
                             Centred(LoadSome(b + at, some), zero_b)),
                    ratio);
    });
    if (how.table) CodeTable(how.table).Row(out, args.columns, out);
  }
}

inline void NeonLookup8(const Lookup8Args& args, Range rows) {
  const CodeTable table(args.table);
  for (int32_t row = rows.begin; row < rows.end; ++row)
    table.Row(RowAt<uint8_t>(args.input, row), args.columns, RowAt<uint8_t>(args.output, row));
}

// Sixteen floats over `scale`, the first `count` of them; the rest are zeros.
[[gnu::always_inline]] inline float32x4x4_t Quotients(const char* from, int32_t count,
                                                      float32x4_t scale) {
  float some[16] = {};
  const auto* values = reinterpret_cast<const float*>(from);
  if (count < 16) {
    std::memcpy(some, from, static_cast<size_t>(count) * sizeof(float));
    values = some;
  }
  float32x4x4_t quotients = vld1q_f32_x4(values);
  for (float32x4_t& value : quotients.val) value = vdivq_f32(value, scale);
  return quotients;
}

// Where rows, not columns, lie side by side: planes of an image to pixels of a few channels.
constexpr int32_t kMostPlanes = 16;

inline void NeonQuantisePlanes(const QuantiseArgs& args, Range rows) {
  const ToBytes to_bytes(args.zero_point, 0, 255);
  const float32x4_t scale = vdupq_n_f32(args.scale);
  uint8_t planes[kMostPlanes][16];
  const bool threes = args.columns == 3 && args.output.stride == 3;
  for (int32_t row = rows.begin; row < rows.end; row += 16) {
    const int32_t count = std::min(16, rows.end - row);
    for (int32_t c = 0; c < args.columns; ++c) {
      const char* from = RowAt<char>(args.input, row) + c * args.column_stride;
      vst1q_u8(planes[c], to_bytes(Quotients(from, count, scale)));
    }
    uint8_t* out = RowAt<uint8_t>(args.output, row);
    if (threes && count == 16) {
      vst3q_u8(out, {{vld1q_u8(planes[0]), vld1q_u8(planes[1]), vld1q_u8(planes[2])}});
      continue;
    }
    for (int32_t r = 0; r < count; ++r, out += args.output.stride) {
      for (int32_t c = 0; c < args.columns; ++c) out[c] = planes[c][r];
    }
  }
}

inline void NeonQuantise(const QuantiseArgs& args, Range rows) {
  const bool planes = args.input.stride == 4 && args.columns <= kMostPlanes;
  if (args.column_stride != 4 && planes) return NeonQuantisePlanes(args, rows);
  if (args.column_stride != 4) return PlainQuantise(args, rows);
  const ToBytes to_bytes(args.zero_point, 0, 255);
  const float32x4_t scale = vdupq_n_f32(args.scale);
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    const char* from = RowAt<char>(args.input, row);
    StoreRow(to_bytes, args.columns, RowAt<uint8_t>(args.output, row),
             [&](int32_t at, int32_t some) { return Quotients(from + at * 4, some, scale); });
  }
}

inline void NeonDequantise(const DequantiseArgs& args, Range rows) {
  if (args.column_stride != 4) return PlainDequantise(args, rows);
  const int16x8_t zero = vdupq_n_s16(static_cast<int16_t>(args.zero_point));
  const float32x4_t scale = vdupq_n_f32(args.scale);
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    const uint8_t* in = RowAt<uint8_t>(args.input, row);
    float* out = RowAt<float>(args.output, row);
    for (int32_t c = 0; c < args.columns; c += 16) {
      const int32_t some = std::min(16, args.columns - c);
      const float32x4x4_t values = Scaled(ToFloats(Centred(LoadSome(in + c, some), zero)), scale);
      if (some == 16) {
        vst1q_f32_x4(out + c, values);
      } else {
        float few[16];
        vst1q_f32_x4(few, values);
        std::copy_n(few, some, out + c);
      }
    }
  }
}

// The sums of sixteen channels over the taps within the image; 16 bits hold 257 of them.
struct PoolSums {
  void Add(uint8x16_t bytes) {
    low = vaddw_u8(low, vget_low_u8(bytes));
    high = vaddw_high_u8(high, bytes);
    if (++taps % 256 == 0) Flush();
  }
  void Flush() {
    sums.val[0] = vaddw_u16(sums.val[0], vget_low_u16(low));
    sums.val[1] = vaddw_high_u16(sums.val[1], low);
    sums.val[2] = vaddw_u16(sums.val[2], vget_low_u16(high));
    sums.val[3] = vaddw_high_u16(sums.val[3], high);
    low = high = vdupq_n_u16(0);
  }

  uint16x8_t low = vdupq_n_u16(0), high = vdupq_n_u16(0);
  uint32x4x4_t sums = {{vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0)}};
  int32_t taps = 0;
};

inline uint8x16_t NeonAverage(const PoolArgs& args, Pixel at, int32_t first, int32_t count) {
  PoolSums pool;
  ForTaps<uint8_t>(args.shape, args.input, at, [&](int32_t, const uint8_t* pixel) {
    if (pixel) pool.Add(LoadSome(pixel + first, count));
  });
  pool.Flush();
  const float multiplier =
      args.scale_in / (args.scale_out * static_cast<float>(PoolCount(args, pool.taps)));
  const int32x4_t zeros = vdupq_n_s32(pool.taps * args.zero_in);
  float32x4x4_t values;
  for (int i = 0; i < 4; ++i) {
    const int32x4_t sum = vsubq_s32(vreinterpretq_s32_u32(pool.sums.val[i]), zeros);
    values.val[i] = vmulq_n_f32(vcvtq_f32_s32(sum), multiplier);
  }
  return ToBytes(args.zero_out, args.low, args.high)(values);
}

inline uint8x16_t NeonMaximum(const PoolArgs& args, Pixel at, int32_t first, int32_t count) {
  uint8x16_t most = vdupq_n_u8(0);
  ForTaps<uint8_t>(args.shape, args.input, at, [&](int32_t, const uint8_t* pixel) {
    if (pixel) most = vmaxq_u8(most, LoadSome(pixel + first, count));
  });
  return most;
}

inline void NeonPool8(const PoolArgs& args, Range rows) {
  const int32_t channels = args.shape.groups;
  ForPixelsOfRows(args.shape, rows, [&](Pixel at) {
    uint8_t* out = At<uint8_t>(args.output, at);
    for (int32_t first = 0; first < channels; first += 16) {
      const int32_t count = std::min(16, channels - first);
      StoreSome(out + first, count,
                args.kind == PoolKind::kMax ? NeonMaximum(args, at, first, count)
                                            : NeonAverage(args, at, first, count));
    }
    if (args.table) CodeTable(args.table).Row(out, channels, out);
  });
}

}  // namespace
}  // namespace ds::engine
