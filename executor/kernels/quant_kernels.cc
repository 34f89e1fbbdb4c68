#include "executor/kernels/quant_kernels.h"

#include "quant/affine_steps.h"

namespace ds::executor {
namespace {

template <typename Code>
void Quantize(const float* x, int64_t count, const AffineStep& step, Code* out) {
  const float scale = step.scale;
  const int32_t zero_point = step.zero_point;
  const auto low = static_cast<float>(step.low - zero_point);
  const auto high = static_cast<float>(step.high - zero_point);
  for (int64_t i = 0; i < count; ++i) {
    out[i] = static_cast<Code>(QuantSteps(x[i], scale, low, high) + zero_point);
  }
}

template <typename Code>
void Dequantize(const Code* codes, int64_t count, const AffineStep& step, float* out) {
  const float scale = step.scale;
  const int32_t zero_point = step.zero_point;
  for (int64_t i = 0; i < count; ++i) {
    out[i] = static_cast<float>(static_cast<int32_t>(codes[i]) - zero_point) * scale;
  }
}

}  // namespace

void QuantizeInts(const float* x, int64_t count, const AffineStep& step, uint8_t* out) {
  Quantize(x, count, step, out);
}
void QuantizeInts(const float* x, int64_t count, const AffineStep& step, int8_t* out) {
  Quantize(x, count, step, out);
}
void DequantizeInts(const uint8_t* codes, int64_t count, const AffineStep& step, float* out) {
  Dequantize(codes, count, step, out);
}
void DequantizeInts(const int8_t* codes, int64_t count, const AffineStep& step, float* out) {
  Dequantize(codes, count, step, out);
}

}  // namespace ds::executor
