// Tensors of which only type and shape matter.
#pragma once

#include "base/tensor/tensor.h"

namespace ds {

// Zeros that take no memory until they are touched. Errors as of Tensor::Create.
absl::StatusOr<Tensor> UntouchedTensor(DType dtype, Shape shape);

}  // namespace ds
