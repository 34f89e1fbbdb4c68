// Matrix products with weights of 4 bits that have a scale for each block of the depth; results
// are floats. Inputs are codes (sums within a block exact) or floats. Weights are unpacked in
// registers, once for up to four rows. Vectors are the compiler's own, so that every instruction
// set has them; one with better products of bytes brings its own Products.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "deploy/engine/runtime/kernels/generic/place_inl.h"
#include "deploy/engine/runtime/kernels/generic/unroll_inl.h"
#include "deploy/engine/runtime/kernels/pack/layout.h"

namespace ds::engine {
namespace {

constexpr int32_t kLanes4 = 8;      // of the depth in a step of the layout; lanes of a vector
constexpr int32_t kDense4Rows = 4;  // that share unpacked weights

template <typename T>
struct LanesOf {
  typedef T Vector __attribute__((vector_size(kLanes4 * 4)));
};
using Words8 = LanesOf<uint32_t>::Vector;
using Ints8 = LanesOf<int32_t>::Vector;
using Floats8 = LanesOf<float>::Vector;

// Bits to the left of value j of a word: value j in byte j's low half, 4 + j in its high one.
constexpr int kAbove[kLanes4] = {28, 20, 12, 4, 24, 16, 8, 0};

// One vector of channels times eight of the depth, for any set. T: int32_t of codes, float.
template <typename T, typename In>
struct PlainProducts4 {
  using Input = In;
  using Sum = typename LanesOf<T>::Vector;
  using Row = T[kLanes4];  // a row's eight

  static void Prepare(const In* x, int32_t zero, Row& row) {
    for (int32_t j = 0; j < kLanes4; ++j) row[j] = static_cast<T>(x[j]) - static_cast<T>(zero);
  }
  template <int kRows>
  [[gnu::always_inline]] static void Add(const uint8_t* weights, const Row (&rows)[kRows],
                                         Sum (&sums)[kRows]) {
    Words8 words;
    std::memcpy(&words, weights, sizeof(words));
    Unroll<kLanes4>([&](auto j) __attribute__((always_inline)) {
      const Sum values =
          __builtin_convertvector(reinterpret_cast<Ints8>(words << kAbove[j]) >> 28, Sum);
      Unroll<kRows>([&](auto r) __attribute__((always_inline)) { sums[r] += values * rows[r][j]; });
    });
  }
};

// Sums of kRows rows and kVectors * 8 channels over all blocks, times their scales, plus the
// shift. `weights` and `step_bytes` as the panel has them.
template <typename Products, int kRows, int kVectors>
void Dense4Tile(const Dense4Args& args, int32_t first_row, int32_t column, int32_t count,
                const uint8_t* weights, int64_t step_bytes) {
  using Input = typename Products::Input;
  const int64_t padded = RoundUp(args.columns, kChannelBlock);
  Floats8 totals[kRows][kVectors] = {};
  const float* scale = args.scale + column;
  for (int32_t begin = 0; begin < args.depth; begin += args.block, scale += padded) {
    const int32_t end = begin + std::min(args.block, args.depth - begin);
    typename Products::Sum sums[kVectors][kRows] = {};
    for (int32_t k = begin; k < end; k += kLanes4, weights += step_bytes) {
      typename Products::Row rows[kRows];
      Unroll<kRows>([&](auto r) {
        const Input* x = RowAt<Input>(args.input, first_row + r) + k;
        Input last[kLanes4] = {};  // nothing behind a row is read
        if (end - k < kLanes4) x = std::copy_n(x, end - k, last) - (end - k);
        Products::Prepare(x, args.input_zero, rows[r]);
      });
      Unroll<kVectors>([&](auto v) { Products::Add(weights + v * 32, rows, sums[v]); });
    }
    Unroll<kVectors>([&](auto v) {
      Floats8 scales;
      std::memcpy(&scales, scale + v * kLanes4, sizeof(scales));
      Unroll<kRows>(
          [&](auto r) { totals[r][v] += __builtin_convertvector(sums[v][r], Floats8) * scales; });
    });
  }
  Unroll<kRows>([&](auto r) {
    float* out = RowAt<float>(args.output, first_row + r) + column;
    float row[kVectors * kLanes4];
    Unroll<kVectors>([&](auto v) {
      Floats8 shift;
      std::memcpy(&shift, args.shift + column + v * kLanes4, sizeof(shift));
      shift += totals[r][v];
      std::memcpy(row + v * kLanes4, &shift, sizeof(shift));
    });
    std::copy_n(row, count, out);
  });
}

// kVectors * 8 columns of a panel from `column` on, or what the range has of them.
template <typename Products, int kRows, int kVectors>
void Dense4Slice(const Dense4Args& args, int32_t row, int32_t column, Range columns,
                 const uint8_t* panel, int64_t step_bytes) {
  const int32_t count = std::min(columns.end - column, kVectors * kLanes4);
  if (count <= 0) return;
  Dense4Tile<Products, kRows, kVectors>(args, row, column, count, panel + column % kPanel * 4,
                                        step_bytes);
}

template <typename Products>
void Dense4(const Dense4Args& args, Range rows, Range columns) {
  constexpr int kVectors = kHalfPanel / kLanes4;
  const int64_t depth = RoundUp(args.depth, kLanes4);
  for (int32_t column = columns.begin; column < columns.end; column += kPanel) {
    const int32_t width = PanelWidth(args.columns - column);
    const auto* panel = static_cast<const uint8_t*>(args.weights) + column * depth / 2;
    int32_t row = rows.begin;
    for (; row + kDense4Rows <= rows.end; row += kDense4Rows) {
      for (int32_t at = column; at < column + width; at += kHalfPanel)
        Dense4Slice<Products, kDense4Rows, kVectors>(args, row, at, columns, panel, width * 4);
    }
    for (; row < rows.end; ++row) {
      (width == kPanel
           ? Dense4Slice<Products, 1, 2 * kVectors>
           : Dense4Slice<Products, 1, kVectors>)(args, row, column, columns, panel, width * 4);
    }
  }
}

}  // namespace
}  // namespace ds::engine
