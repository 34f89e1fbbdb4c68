// Which element type holds codes of a width, in files and in tensors (base/tensor/int_tensor.h
// packs them): a code of 3 bits takes 4, one of 5 to 7 bits takes 8.
#pragma once

#include "base/tensor/dtype.h"
#include "quant/affine.h"

namespace ds {

// int2 / uint2 for 2 bits, int4 / uint4 for 3 and 4, int8 / uint8 for 5 to 8; `type` must pass
// CheckType.
DType StorageType(const QuantType& type);

}  // namespace ds
