// Fake quantisation with a learned step: LSQ (Esser et al., "Learned Step Size Quantization", ICLR
// 2020), with a fixed zero point.
//
//   out = s * clamp(round(v / s), Qn, Qp)
//   Qn = type.min() - zero_point,   Qp = type.max() - zero_point
//
// in fp32 whatever the type of v, rounding half to even: what `quant/affine.h` and ONNX's
// QuantizeLinear and DequantizeLinear give, bit for bit. Gradients (equations 2 to 5 of the paper;
// u = v / s):
//
//   of v:  1 where Qn < u < Qp, else 0
//   of s:  round(u) - u inside; Qn where u <= Qn; Qp where u >= Qp;
//          summed, and times 1 / sqrt(N * type.max())
//
// Sums do not depend on the number of threads.
#pragma once

#include <cstdint>

#include "ATen/ATen.h"
#include "quant/affine.h"

namespace ds {

struct LsqOptions {
  QuantType type;
  int axis = QuantParams::kWholeTensor;  // one step for each index along it, or one for all
  int32_t zero_point = 0;                // in type.min()..type.max()
  double gradient_scale = 1;             // of the step, LsqGradientScale
};

// `v`: floating point, any shape; `step`: fp32, > 0, contiguous, one element or v.size(axis).
// Differentiable in both. The result is fp32 in v's layout. NaN stays NaN. Throws c10::Error for a
// step of another size.
at::Tensor LsqFakeQuantize(const at::Tensor& v, const at::Tensor& step, const LsqOptions& options);

// 1 / sqrt(count * type.max()), section 2.2. `count`: weights that share the step; of activations
// those of one sample.
double LsqGradientScale(int64_t count, const QuantType& type);

// 2 <|v|> / sqrt(type.max()), section 2.1, for the whole tensor ([1]) or each index along `axis`
// ([v.size(axis)]): 0 where all is 0.
at::Tensor LsqInitialStep(const at::Tensor& v, int axis, const QuantType& type);

}  // namespace ds
