// Tensors of a file as the kernels see them: rows of adjacent elements, or images.
#pragma once

#include <cstdint>

#include "deploy/engine/runtime/file_view.h"
#include "deploy/engine/runtime/kernels/args.h"
#include "deploy/engine/runtime/parameters.h"

namespace ds::engine {

inline int32_t Columns(const file::Tensor& tensor) {
  return tensor.rank == 0 ? 1 : static_cast<int32_t>(tensor.dims[tensor.rank - 1]);
}
// All dims but the last.
inline int32_t Rows(const file::Tensor& tensor) {
  int32_t rows = 1;
  for (int i = 0; i + 1 < tensor.rank; ++i) rows *= static_cast<int32_t>(tensor.dims[i]);
  return rows;
}
inline int64_t Elements(const file::Tensor& tensor) {
  return static_cast<int64_t>(Rows(tensor)) * Columns(tensor);
}
inline bool Dense(const file::Tensor& tensor) {
  return tensor.row_bytes == Columns(tensor) * ElementBytes(tensor.type);
}
inline bool SameDims(const file::Tensor& a, const file::Tensor& b) {
  for (int i = 0; i < file::kMaxRank; ++i) {
    if (a.dims[i] != b.dims[i]) return false;
  }
  return a.rank == b.rank;
}

// [N, H, W, C]; a tensor of another rank than 4 is one image of one line.
struct Extents {
  int32_t n = 1, h = 1, w = 1, c = 1;
};
inline Extents ImageExtents(const file::Tensor& tensor) {
  if (tensor.rank != 4) return {1, 1, Rows(tensor), Columns(tensor)};
  const auto* d = tensor.dims;
  return {static_cast<int32_t>(d[0]), static_cast<int32_t>(d[1]), static_cast<int32_t>(d[2]),
          static_cast<int32_t>(d[3])};
}
template <typename Image, typename Pointer>
Image ImageOf(const file::Tensor& tensor, Pointer data) {
  const Extents extents = ImageExtents(tensor);
  const int64_t pixel = tensor.row_bytes;
  return {data, pixel, pixel * extents.w, pixel * extents.w * extents.h};
}

}  // namespace ds::engine
