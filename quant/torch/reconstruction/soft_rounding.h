// The choice between rounding a weight down and up as a number that gradients move.
// After Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization" (ICML 2020),
// section 3.2:
//   soft weight = scale * clamp(floor(w / scale) + h(v), least code, greatest code)
//   h(v) = clamp(1.2 sigmoid(v) - 0.1, 0, 1)
//   regulariser = mean of 1 - |2 h(v) - 1|^beta, which beta's fall from 20 to 2 drives to 0 or 1.
#pragma once

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"
#include "base/tensor/tensor.h"
#include "quant/affine.h"

namespace ds {

// h: a sigmoid stretched beyond [0, 1] and cut there, so that it gets to 0 and 1.
at::Tensor RectifiedSigmoid(const at::Tensor& v);
// 1 - |2 h - 1|^beta, element by element: 1 at h = 1/2, 0 at h = 0 and 1.
at::Tensor RoundingRegulariser(const at::Tensor& h, double beta);

// One weight. Copies share the variable.
class SoftRounding {
 public:
  // The soft weight starts as the weight itself, clipped; a weight of exactly 0 stays that, so that
  // learning does not fill what was pruned. `params` symmetric, of the tensor, an
  // axis or groups; InvalidArgument if it does not fit the weight (float32).
  static absl::StatusOr<SoftRounding> Create(const Tensor& weight, const QuantParams& params);

  const at::Tensor& variable() const { return variable_; }  // v: a leaf that requires a gradient
  at::Tensor Soft() const;                                  // differentiable in v
  at::Tensor Regulariser(double beta) const;                // sum over the weight, a scalar
  // scale * code with every choice made: h >= 1/2 is up. Quantised by `params` it is itself.
  at::Tensor Hard() const;
  at::Tensor Nearest() const;  // the same without learning
  int64_t Flipped() const;     // codes in which the two differ

 private:
  at::Tensor Codes(const at::Tensor& up) const;

  at::Tensor floor_, nearest_up_, free_, scale_, variable_;
  QuantType type_;
};

}  // namespace ds
