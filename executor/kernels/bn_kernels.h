// Batch normalisation's four passes over activations of [rows, channels], channels innermost
// (channels_last), for one chunk of rows. Plain C++ without LibTorch: the same source is compiled
// once for each instruction set and chosen at run time. A chunk's result depends on nothing but its
// rows, so that work can be split over any number of threads.
#pragma once

#include <cstdint>

namespace ds::executor {

// y = clamp((x - mean) * scale + bias + residual)
struct BnAffine {
  const float* mean;   // [channels], as the two below
  const float* scale;  // gamma / sqrt(variance + epsilon)
  const float* bias;
  float low;  // clamp; infinite for none
  float high;
};

// dx = gradient * scale + (x - mean) * slope + offset
struct BnInputGradient {
  const float* mean;
  const float* scale;
  const float* slope;
  const float* offset;
  float low;
  float high;
};

// Element pointers are float or bf16 (uint16_t), as the table was asked for.
struct BnKernels {
  // sum = sum of x - shift, square = sum of (x - shift)^2.
  void (*statistics)(const void* x, int64_t rows, int64_t channels, const float* shift, float* sum,
                     float* square);
  // `residual` may be null.
  void (*apply)(const void* x, const void* residual, void* y, int64_t rows, int64_t channels,
                const BnAffine& affine);
  // g = gradient where low < y < high, else 0 (everywhere gradient if y is null); sum = sum of g,
  // product = sum of g * (x - mean). Writes g to `masked` unless it is null.
  void (*reduce)(const void* gradient, const void* y, const void* x, void* masked, int64_t rows,
                 int64_t channels, const float* mean, float low, float high, float* sum,
                 float* product);
  // Masks the gradient as above.
  void (*input_gradient)(const void* gradient, const void* y, const void* x, void* dx, int64_t rows,
                         int64_t channels, const BnInputGradient& coefficients);
};

enum class BnInstructions { kBaseline, kAvx2, kAvx512 };
// What this processor has.
BnInstructions BestBnInstructions();
const BnKernels& GetBnKernels(BnInstructions instructions, bool bf16);

// One table a source file; the last two exist on x86-64 only.
const BnKernels& BnKernelsBaseline(bool bf16);
const BnKernels& BnKernelsAvx2(bool bf16);
const BnKernels& BnKernelsAvx512(bool bf16);

}  // namespace ds::executor
