#include "quant/storage_type.h"

namespace ds {

DType StorageType(const QuantType& type) {
  if (type.bits == 2) return type.is_signed ? DType::kInt2 : DType::kUInt2;
  if (type.bits <= 4) return type.is_signed ? DType::kInt4 : DType::kUInt4;
  return type.is_signed ? DType::kInt8 : DType::kUInt8;
}

}  // namespace ds
