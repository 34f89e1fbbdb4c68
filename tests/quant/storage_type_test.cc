#include "quant/storage_type.h"

#include "base/tensor/int_tensor.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

TEST(StorageType, HoldsEveryCodeInTheLeastOf2And4And8Bits) {
  const int stored[] = {0, 0, 2, 4, 4, 8, 8, 8, 8};
  for (int bits = 2; bits <= 8; ++bits) {
    for (const bool is_signed : {true, false}) {
      const QuantType type = {.bits = bits, .is_signed = is_signed};
      const DType storage = StorageType(type);
      EXPECT_EQ(BitWidth(storage), stored[bits]);
      const auto range = RangeOfInts(storage);
      ASSERT_TRUE(range.ok());
      EXPECT_LE(range->min, type.min());
      EXPECT_GE(range->max, type.max());
    }
  }
}

}  // namespace
}  // namespace ds
