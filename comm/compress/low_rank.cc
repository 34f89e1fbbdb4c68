#include "comm/compress/low_rank.h"

#include <algorithm>
#include <cmath>

namespace ds {
namespace {

// Partial sums side by side, which a compiler may keep in vector registers without reordering
// anything.
constexpr size_t kLanes = 16;

// The loops go over pointers: a span checks every index, and a loop with checks is not vectorised.
float Dot(absl::Span<const float> first, absl::Span<const float> second) {
  const float *a = first.data(), *b = second.data();
  float sums[kLanes] = {};
  const size_t size = first.size(), whole = size / kLanes * kLanes;
  for (size_t i = 0; i < whole; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  for (size_t i = whole; i < size; ++i) sums[i - whole] += a[i] * b[i];
  float sum = 0;
  for (const float lane : sums) sum += lane;
  return sum;
}

double DotInDouble(absl::Span<const float> first, absl::Span<const float> second) {
  const float *a = first.data(), *b = second.data();
  double sum = 0;
  for (size_t i = 0; i < first.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

void AddScaled(float factor, absl::Span<const float> values, absl::Span<float> into) {
  const float* from = values.data();
  float* to = into.data();
  for (size_t i = 0; i < into.size(); ++i) to[i] += factor * from[i];
}

template <typename T>
absl::Span<T> Line(absl::Span<T> lines, int64_t length, int64_t index) {
  return lines.subspan(static_cast<size_t>(index * length), static_cast<size_t>(length));
}

}  // namespace

void ScaleAndAdd(float scale, absl::Span<const float> more, absl::Span<float> values) {
  const float* from = more.data();
  float* to = values.data();
  if (more.empty()) {
    for (float& value : values) value *= scale;
  } else {
    for (size_t i = 0; i < values.size(); ++i) to[i] = to[i] * scale + from[i];
  }
}

void SubtractFrom(absl::Span<const float> whole, absl::Span<float> part) {
  const float* from = whole.data();
  float* to = part.data();
  for (size_t i = 0; i < part.size(); ++i) to[i] = from[i] - to[i];
}

void MultiplyRight(const LowRankShape& shape, absl::Span<const float> matrix,
                   absl::Span<const float> q, absl::Span<float> p) {
  for (int64_t i = 0; i < shape.rows; ++i) {
    const absl::Span<const float> row = Line(matrix, shape.columns, i);
    for (int k = 0; k < shape.rank; ++k)
      p[static_cast<size_t>(k * shape.rows + i)] = Dot(row, Line(q, shape.columns, k));
  }
}

void MultiplyLeft(const LowRankShape& shape, absl::Span<const float> matrix,
                  absl::Span<const float> p, absl::Span<float> q) {
  std::fill(q.begin(), q.end(), 0.0f);
  for (int64_t i = 0; i < shape.rows; ++i) {
    const absl::Span<const float> row = Line(matrix, shape.columns, i);
    for (int k = 0; k < shape.rank; ++k) {
      AddScaled(p[static_cast<size_t>(k * shape.rows + i)], row, Line(q, shape.columns, k));
    }
  }
}

void OuterProduct(const LowRankShape& shape, absl::Span<const float> p, absl::Span<const float> q,
                  absl::Span<float> matrix) {
  for (int64_t i = 0; i < shape.rows; ++i) {
    const absl::Span<float> row = Line(matrix, shape.columns, i);
    std::fill(row.begin(), row.end(), 0.0f);
    for (int k = 0; k < shape.rank; ++k) {
      AddScaled(p[static_cast<size_t>(k * shape.rows + i)], Line(q, shape.columns, k), row);
    }
  }
}

void Orthonormalise(absl::Span<float> columns, int64_t length, int count) {
  // What is left of a column of float32 values when it lies in the span of others is rounding, of
  // this relative size at most.
  constexpr double kRounding = 1e-6;
  for (int k = 0; k < count; ++k) {
    const absl::Span<float> column = Line(columns, length, k);
    const double before = std::sqrt(DotInDouble(column, column));
    for (int pass = 0; pass < 2; ++pass) {
      for (int j = 0; j < k; ++j) {
        const absl::Span<const float> other = Line(columns, length, j);
        AddScaled(static_cast<float>(-DotInDouble(column, other)), other, column);
      }
    }
    const double norm = std::sqrt(DotInDouble(column, column));
    const bool spanned = norm <= before * kRounding;  // false for NaN
    for (float& value : column) value = spanned ? 0.0f : static_cast<float>(value / norm);
  }
}

}  // namespace ds
