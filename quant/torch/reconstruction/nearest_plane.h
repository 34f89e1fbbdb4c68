// Integers near given reals, as a covariance measures nearness: each is rounded so as to make up
// for the errors of those before it. Babai, "On Lovasz' lattice reduction and the nearest lattice
// point problem" (Combinatorica 6, 1986), the nearest plane; Frantar et al., "GPTQ" (ICLR 2023)
// choose weights so, from the other end of the same factor.
#pragma once

#include "ATen/core/Tensor.h"

namespace ds {

// `steps`: float [rows, n], each row on its own; `covariance`: float [n, n], positive definite.
// Integers q in [low, high] whose (q - steps)^T covariance (q - steps) is small; what is 0 stays 0.
// Plain rounding where the covariance has no Cholesky factor in fp32.
at::Tensor NearestPlane(const at::Tensor& steps, const at::Tensor& covariance, float low,
                        float high);

}  // namespace ds
