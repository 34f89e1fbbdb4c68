// The arithmetic of a low-rank approximation M ~ P Q^T of an m x n matrix, rows contiguous. Factors
// are held column by column: `p` is rank columns of m values, `q` rank columns of n. The order of
// every sum is fixed, so equal input gives equal bits.
#pragma once

#include <cstdint>

#include "absl/types/span.h"

namespace ds {

struct LowRankShape {
  int64_t rows = 0;
  int64_t columns = 0;
  int rank = 0;
  size_t p_size() const { return static_cast<size_t>(rows * rank); }
  size_t q_size() const { return static_cast<size_t>(columns * rank); }
};

// values = scale * values + more (empty: nothing more)
void ScaleAndAdd(float scale, absl::Span<const float> more, absl::Span<float> values);
// part = whole - part
void SubtractFrom(absl::Span<const float> whole, absl::Span<float> part);
// p = M q
void MultiplyRight(const LowRankShape& shape, absl::Span<const float> matrix,
                   absl::Span<const float> q, absl::Span<float> p);
// q = M^T p
void MultiplyLeft(const LowRankShape& shape, absl::Span<const float> matrix,
                  absl::Span<const float> p, absl::Span<float> q);
// matrix = p q^T
void OuterProduct(const LowRankShape& shape, absl::Span<const float> p, absl::Span<const float> q,
                  absl::Span<float> matrix);
// Makes `count` columns of `length` values orthonormal, by modified Gram-Schmidt with sums in
// double, twice over (once is not enough where columns are nearly parallel). A column that the ones
// before it span becomes zero; NaN stays NaN.
void Orthonormalise(absl::Span<float> columns, int64_t length, int count);

}  // namespace ds
