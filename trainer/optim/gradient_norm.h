// L2 norms that do not depend on the number of threads: memory is cut into chunks of a fixed size,
// each is summed in double, and the chunks' sums are added in order.
#pragma once

#include "ATen/ATen.h"

namespace ds {

// Sum of squares of all elements, in double. Float32 and dense on the CPU is the fast path; others
// are converted. Elements are taken in memory order.
double SumOfSquares(const at::Tensor& tensor);

}  // namespace ds
