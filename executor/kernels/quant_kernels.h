// One pass over memory for QuantizeLinear and DequantizeLinear with one scale for the whole tensor:
// what activations have. The same arithmetic as quant/affine.h, so that a code is the same wherever
// it is computed.
#pragma once

#include <cstdint>

namespace ds::executor {

struct AffineStep {
  float scale = 1;  // > 0
  int32_t zero_point = 0;
  int32_t low = 0,
          high = 255;  // codes of the type, zero point among them; within int8_t or uint8_t
};

// out[i] = clamp(round_half_to_even(x[i] / scale) + zero_point, low, high); NaN becomes the zero
// point.
void QuantizeInts(const float* x, int64_t count, const AffineStep& step, uint8_t* out);
void QuantizeInts(const float* x, int64_t count, const AffineStep& step, int8_t* out);
// out[i] = (codes[i] - zero_point) * scale, one rounding.
void DequantizeInts(const uint8_t* codes, int64_t count, const AffineStep& step, float* out);
void DequantizeInts(const int8_t* codes, int64_t count, const AffineStep& step, float* out);

}  // namespace ds::executor
