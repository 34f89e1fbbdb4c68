// Where pixels and taps lie. Like all *_inl.h here: included by one source an instruction set,
// local to it, since code made for one set must not be linked into another's callers.
#pragma once

#include <cstdint>
#include <cstring>

#include "deploy/engine/runtime/kernels/args.h"

namespace ds::engine {
namespace {

struct Pixel {
  int32_t image, y, x;
};

inline Pixel PixelOfRow(const ConvShape& shape, int32_t row) {
  const int32_t line = row / shape.out_w;
  return {line / shape.out_h, line % shape.out_h, row % shape.out_w};
}

inline Pixel NextPixel(const ConvShape& shape, Pixel at) {
  if (++at.x < shape.out_w) return at;
  at.x = 0;
  if (++at.y < shape.out_h) return at;
  return {at.image + 1, 0, 0};
}

inline int64_t Offset(const ImageIn& image, Pixel at) {
  return at.image * image.image_stride + at.y * image.row_stride + at.x * image.pixel_stride;
}
inline int64_t Offset(const ImageOut& image, Pixel at) {
  return at.image * image.image_stride + at.y * image.row_stride + at.x * image.pixel_stride;
}

template <typename T>
const T* At(const ImageIn& image, Pixel at) {
  return reinterpret_cast<const T*>(static_cast<const char*>(image.data) + Offset(image, at));
}
template <typename T>
T* At(const ImageOut& image, Pixel at) {
  return reinterpret_cast<T*>(static_cast<char*>(image.data) + Offset(image, at));
}
template <typename T>
const T* RowAt(const RowsIn& rows, int32_t row) {
  return reinterpret_cast<const T*>(static_cast<const char*>(rows.data) + row * rows.stride);
}
template <typename T>
T* RowAt(const RowsOut& rows, int32_t row) {
  return reinterpret_cast<T*>(static_cast<char*>(rows.data) + row * rows.stride);
}

inline int32_t InputY(const ConvShape& shape, int32_t y, int32_t ky) {
  return y * shape.stride_h - shape.pad_top + ky * shape.dilation_h;
}
inline int32_t InputX(const ConvShape& shape, int32_t x, int32_t kx) {
  return x * shape.stride_w - shape.pad_left + kx * shape.dilation_w;
}
inline bool Within(int32_t index, int32_t size) {
  return static_cast<uint32_t>(index) < static_cast<uint32_t>(size);
}

// Calls tap(number of the tap, pointer to its pixel or null outside the image) for each tap of an
// output pixel.
template <typename T, typename Tap>
void ForTaps(const ConvShape& shape, const ImageIn& input, Pixel at, Tap tap) {
  int32_t number = 0;
  for (int32_t ky = 0; ky < shape.kernel_h; ++ky) {
    const int32_t y = InputY(shape, at.y, ky);
    for (int32_t kx = 0; kx < shape.kernel_w; ++kx, ++number) {
      const int32_t x = InputX(shape, at.x, kx);
      const bool inside = Within(y, shape.in_h) && Within(x, shape.in_w);
      tap(number, inside ? At<T>(input, {at.image, y, x}) : nullptr);
    }
  }
}

// All that an output pixel of a group sums over, tap by tap, as adjacent elements.
template <typename T>
void GatherRow(const ConvShape& shape, const ImageIn& input, Pixel at, int32_t group, T pad,
               T* row) {
  const int32_t channels = shape.in_channels;
  ForTaps<T>(shape, input, at, [&](int32_t number, const T* pixel) {
    T* to = row + static_cast<int64_t>(number) * channels;
    for (int32_t c = 0; c < channels; ++c) to[c] = pixel ? pixel[group * channels + c] : pad;
  });
}

}  // namespace
}  // namespace ds::engine
