#include "base/tensor/int_tensor.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr DType kIntegers[] = {DType::kInt2,  DType::kUInt2,  DType::kInt4,
                               DType::kUInt4, DType::kInt8,   DType::kUInt8,
                               DType::kInt16, DType::kUInt16, DType::kInt32};

TEST(IntTensorTest, EveryNumberOfEveryTypeSurvives) {
  for (const DType dtype : kIntegers) {
    const IntRange range = *RangeOfInts(dtype);
    for (const int64_t count : {0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 33}) {
      std::vector<int32_t> values;
      for (int64_t i = 0; i < count; ++i) {
        // Both ends, and steps between them that visit all bits of a byte.
        const int64_t span = static_cast<int64_t>(range.max) - range.min + 1;
        values.push_back(static_cast<int32_t>(i == 0   ? range.min
                                              : i == 1 ? range.max
                                                       : range.min + i * 7 % span));
      }
      const auto tensor = IntTensor(dtype, {count}, values);
      ASSERT_TRUE(tensor.ok()) << tensor.status();
      EXPECT_EQ(tensor->dtype(), dtype);
      EXPECT_EQ(*IntValues(*tensor), values) << Name(dtype) << " x " << count;
    }
  }
}

TEST(IntTensorTest, SmallTypesArePackedLowBitsFirst) {
  const Tensor fours = *IntTensor(DType::kInt4, {3}, {-1, -8, 7});
  EXPECT_EQ(std::to_integer<int>(fours.data()[0]), 0x8f);
  EXPECT_EQ(std::to_integer<int>(fours.data()[1]), 0x07);
  const Tensor twos = *IntTensor(DType::kUInt2, {5}, {1, 2, 3, 0, 1});
  EXPECT_EQ(std::to_integer<int>(twos.data()[0]), 0b00111001);
  EXPECT_EQ(std::to_integer<int>(twos.data()[1]), 1);
}

TEST(IntTensorTest, WhatDoesNotFitIsRefused) {
  EXPECT_THAT(std::string(IntTensor(DType::kInt4, {1}, {8}).status().message()),
              HasSubstr("-8 to 7"));
  EXPECT_FALSE(IntTensor(DType::kUInt2, {1}, {-1}).ok());
  EXPECT_FALSE(IntTensor(DType::kInt8, {2}, {1}).ok());
  EXPECT_FALSE(IntTensor(DType::kFloat32, {1}, {1}).ok());
  EXPECT_FALSE(IntTensor(DType::kUInt32, {1}, {1}).ok());
  EXPECT_FALSE(IntValues(Tensor(DType::kInt64, {1})).ok());
}

}  // namespace
}  // namespace ds
