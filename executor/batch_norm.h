// BatchNormalization with what follows it in residual networks, an addition and a clamp, in one
// operator: training spends its time moving activations, and this reads and writes them half as
// often as three operators do.
//
// In training, fp32 or bf16 activations in channels_last order run on own kernels (bn_kernels.h);
// everything else is put together from LibTorch's operators, with the same results up to rounding.
// Statistics are fp32 in both.
#pragma once

#include <limits>

#include "ATen/ATen.h"
#include "graph/graph.h"

namespace ds::executor {

struct BatchNormOptions {
  double epsilon = 1e-5;
  // LibTorch's sense: the weight of the new batch, 1 - ONNX's.
  double momentum = 0.1;
  // Clamp after the addition; infinite where there is none. ReLU is [0, inf).
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();

  bool clamps() const {
    return low > -std::numeric_limits<double>::infinity() ||
           high < std::numeric_limits<double>::infinity();
  }
};

struct BatchNormInputs {
  at::Tensor x;      // [N, C, ...]
  at::Tensor scale;  // [C], fp32 (or the type of x)
  at::Tensor bias;
  at::Tensor mean;  // running statistics, updated in training
  at::Tensor variance;
};

BatchNormOptions ReadBatchNormOptions(const Node& node);

// clamp(batch_norm(x) + residual); an undefined residual adds nothing.
at::Tensor BatchNorm(const BatchNormInputs& inputs, const at::Tensor& residual,
                     const BatchNormOptions& options, bool training);
// The same always from LibTorch's operators: the reference.
at::Tensor BatchNormUnfused(const BatchNormInputs& inputs, const at::Tensor& residual,
                            const BatchNormOptions& options, bool training);

}  // namespace ds::executor
