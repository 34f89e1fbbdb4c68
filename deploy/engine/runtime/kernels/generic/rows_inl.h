// Element-wise kernels, copies, and the ones that reduce a row.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "deploy/engine/runtime/kernels/generic/activate_inl.h"
#include "deploy/engine/runtime/kernels/generic/place_inl.h"
#include "deploy/engine/runtime/kernels/generic/requantise_inl.h"

namespace ds::engine {
namespace {

inline void PlainQuantise(const QuantiseArgs& args, Range rows) {
  const ToByte to_byte(args.zero_point, 0, 255);
  const float scale = args.scale;
  const int32_t columns = args.columns;
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    const char* in = RowAt<char>(args.input, row);
    uint8_t* out = RowAt<uint8_t>(args.output, row);
    if (args.column_stride == sizeof(float)) {
      const float* values = reinterpret_cast<const float*>(in);
      for (int32_t c = 0; c < columns; ++c) out[c] = to_byte(values[c] / scale);
    } else {
      for (int32_t c = 0; c < columns; ++c)
        out[c] = to_byte(*reinterpret_cast<const float*>(in + c * args.column_stride) / scale);
    }
  }
}

inline void PlainDequantise(const DequantiseArgs& args, Range rows) {
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    const uint8_t* in = RowAt<uint8_t>(args.input, row);
    char* out = RowAt<char>(args.output, row);
    for (int32_t c = 0; c < args.columns; ++c) {
      *reinterpret_cast<float*>(out + c * args.column_stride) =
          static_cast<float>(in[c] - args.zero_point) * args.scale;
    }
  }
}

inline void PlainAdd8(const Add8Args& args, Range rows) {
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    AddRow(args.add, RowAt<uint8_t>(args.a, row), RowAt<uint8_t>(args.b, row), args.columns,
           RowAt<uint8_t>(args.output, row));
  }
}

inline void PlainMultiply8(const Multiply8Args& args, Range rows) {
  const Multiply8& how = args.multiply;
  const ToByte to_byte(how.zero_point, how.low, how.high);
  // Copies, since a byte that is stored might be part of `how` for all that the compiler knows.
  const int32_t zero_a = how.zero_a, zero_b = how.zero_b, columns = args.columns;
  const float ratio = how.ratio;
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    const uint8_t *a = RowAt<uint8_t>(args.a, row), *b = RowAt<uint8_t>(args.b, row);
    uint8_t* out = RowAt<uint8_t>(args.output, row);
    for (int32_t c = 0; c < columns; ++c)
      out[c] = to_byte(static_cast<float>((a[c] - zero_a) * (b[c] - zero_b)) * ratio);
    if (how.table) LookupRow(how.table, out, args.columns, out);
  }
}

inline void PlainLookup8(const Lookup8Args& args, Range rows) {
  for (int32_t row = rows.begin; row < rows.end; ++row)
    LookupRow(args.table, RowAt<uint8_t>(args.input, row), args.columns,
              RowAt<uint8_t>(args.output, row));
}

inline void PlainCopy(const CopyArgs& args, Range rows) {
  for (int32_t row = rows.begin; row < rows.end; ++row)
    std::memcpy(RowAt<char>(args.output, row), RowAt<char>(args.input, row),
                static_cast<size_t>(args.bytes));
}

inline void PlainResizeNearest(const ResizeNearestArgs& args, Range rows) {
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    const int32_t image = row / args.out_h, y = row % args.out_h;
    for (int32_t x = 0; x < args.out_w; ++x) {
      std::memcpy(At<char>(args.output, {image, y, x}),
                  At<char>(args.input, {image, args.source_y[y], args.source_x[x]}),
                  static_cast<size_t>(args.pixel_bytes));
    }
  }
}

inline void PlainSoftmax8(const SoftmaxArgs& args, Range rows) {
  const ToByte to_byte(args.zero_out, 0, 255);
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    const uint8_t* in = RowAt<uint8_t>(args.input, row);
    uint8_t* out = RowAt<uint8_t>(args.output, row);
    const int32_t greatest = *std::max_element(in, in + args.columns);
    const int32_t* exponent = args.exponent + 255 - greatest;
    uint32_t sum = 0;
    for (int32_t c = 0; c < args.columns; ++c) sum += static_cast<uint32_t>(exponent[in[c]]);
    const float multiplier = 1.0f / (args.scale_out * static_cast<float>(sum));
    for (int32_t c = 0; c < args.columns; ++c)
      out[c] = to_byte(static_cast<float>(exponent[in[c]]) * multiplier);
  }
}

inline void PlainSoftmaxF32(const SoftmaxArgs& args, Range rows) {
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    const float* in = RowAt<float>(args.input, row);
    float* out = RowAt<float>(args.output, row);
    const float greatest = *std::max_element(in, in + args.columns);
    float sum = 0;
    for (int32_t c = 0; c < args.columns; ++c) sum += out[c] = std::exp(in[c] - greatest);
    for (int32_t c = 0; c < args.columns; ++c) out[c] *= 1.0f / sum;
  }
}

inline void PlainLayerNormF32(const LayerNormArgs& args, Range rows) {
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    const float* in = RowAt<float>(args.input, row);
    float* out = RowAt<float>(args.output, row);
    double sum = 0, squares = 0;
    for (int32_t c = 0; c < args.columns; ++c) sum += in[c];
    const float mean = static_cast<float>(sum / args.columns);
    for (int32_t c = 0; c < args.columns; ++c) squares += (in[c] - mean) * (in[c] - mean);
    const float factor =
        1.0f / std::sqrt(static_cast<float>(squares / args.columns) + args.epsilon);
    for (int32_t c = 0; c < args.columns; ++c) {
      const float value = (in[c] - mean) * factor * (args.scale ? args.scale[c] : 1.0f);
      out[c] = value + (args.shift ? args.shift[c] : 0.0f);
    }
  }
}

template <typename Function>
void Zip(const float* a, const float* b, int32_t count, float* out, Function function) {
  for (int32_t i = 0; i < count; ++i) out[i] = function(a[i], b[i]);
}

inline void BinaryRow(Binary kind, const float* a, const float* b, int32_t count, float* out) {
  switch (kind) {
    case Binary::kAdd:
      return Zip(a, b, count, out, [](float x, float y) { return x + y; });
    case Binary::kSubtract:
      return Zip(a, b, count, out, [](float x, float y) { return x - y; });
    case Binary::kMultiply:
      return Zip(a, b, count, out, [](float x, float y) { return x * y; });
    case Binary::kDivide:
      return Zip(a, b, count, out, [](float x, float y) { return x / y; });
    case Binary::kMaximum:
      return Zip(a, b, count, out, [](float x, float y) { return x > y ? x : y; });
    case Binary::kMinimum:
      return Zip(a, b, count, out, [](float x, float y) { return x < y ? x : y; });
  }
}

inline void PlainBinaryF32(const BinaryF32Args& args, Range rows) {
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    float* out = RowAt<float>(args.output, row);
    BinaryRow(args.kind, RowAt<float>(args.a, row), RowAt<float>(args.b, row), args.columns, out);
    if (args.activate.kind != Activation::kNone) ActivateRow(args.activate, out, args.columns, out);
  }
}

inline void PlainAddDotsF32(const AddDotsF32Args& args, Range rows) {
  constexpr int32_t kSums = 8;
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    const float* a = args.matrix + row * args.stride;
    float sums[kSums] = {}, sum = 0;
    int32_t i = 0;
    for (; i + kSums <= args.columns; i += kSums) {
      for (int32_t j = 0; j < kSums; ++j) sums[j] += a[i + j] * args.vector[i + j];
    }
    for (; i < args.columns; ++i) sum += a[i] * args.vector[i];
    for (const float part : sums) sum += part;
    args.output[row] += sum;
  }
}

inline void PlainActivateF32(const ActivateF32Args& args, Range rows) {
  for (int32_t row = rows.begin; row < rows.end; ++row)
    ActivateRow(args.activate, RowAt<float>(args.input, row), args.columns,
                RowAt<float>(args.output, row));
}

}  // namespace
}  // namespace ds::engine
