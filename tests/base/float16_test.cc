#include "base/tensor/float16.h"

#include <cmath>
#include <cstdint>
#include <limits>

#include "base/random.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

// The value of a binary16 pattern, from the definition of IEEE 754, in double.
double HalfValue(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int mantissa = bits & 1023;
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == 31) {
    return mantissa == 0 ? sign * std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  }
  return exponent == 0 ? sign * std::ldexp(mantissa, -24)
                       : sign * std::ldexp(1024 + mantissa, exponent - 25);
}

double BFloatValue(uint16_t bits) {
  return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits) << 16));
}

TEST(Float16Test, EveryPatternHasTheValueOfItsDefinition) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    Float16 half;
    half.bits = static_cast<uint16_t>(bits);
    const float value = static_cast<float>(half);
    const double wanted = HalfValue(half.bits);
    if (std::isnan(wanted)) {
      EXPECT_TRUE(std::isnan(value)) << bits;
    } else {
      EXPECT_EQ(value, wanted) << bits;
      EXPECT_EQ(std::signbit(value), (bits & 0x8000) != 0) << bits;
    }
  }
}

TEST(Float16Test, EveryNumberComesBackFromFloat) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    Float16 half;
    half.bits = static_cast<uint16_t>(bits);
    const Float16 again(static_cast<float>(half));
    if (std::isnan(HalfValue(half.bits))) {
      EXPECT_TRUE(std::isnan(HalfValue(again.bits))) << bits;
    } else {
      EXPECT_EQ(again.bits, half.bits);
    }
  }
}

// Between two neighbours the nearer one is taken, half way the even one.
TEST(Float16Test, RoundsToNearestEvenBetweenAllNeighbours) {
  for (uint16_t bits = 0; bits < 0x7bff; ++bits) {
    const double low = HalfValue(bits), high = HalfValue(bits + 1);
    const float middle = static_cast<float>((low + high) / 2);  // exact: one bit more than binary16
    EXPECT_EQ(Float16(middle).bits, bits % 2 == 0 ? bits : bits + 1) << middle;
    EXPECT_EQ(Float16(std::nextafterf(middle, 0.0f)).bits, bits) << middle;
    EXPECT_EQ(Float16(std::nextafterf(middle, 1e9f)).bits, bits + 1) << middle;
    EXPECT_EQ(Float16(-middle).bits, 0x8000 | Float16(middle).bits) << middle;
  }
}

TEST(Float16Test, OverflowsToInfinityHalfWayAboveTheLargest) {
  EXPECT_EQ(Float16(65504.0f).bits, 0x7bff);
  EXPECT_EQ(Float16(std::nextafterf(65520.0f, 0.0f)).bits, 0x7bff);
  EXPECT_EQ(Float16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(Float16(-std::numeric_limits<float>::infinity()).bits, 0xfc00);
  EXPECT_TRUE(std::isnan(static_cast<float>(Float16(std::nanf("")))));
}

TEST(Float16Test, UnderflowsToSignedZero) {
  EXPECT_EQ(Float16(0x1p-25f).bits, 0);  // half way to the smallest: even
  EXPECT_EQ(Float16(std::nextafterf(0x1p-25f, 1.0f)).bits, 1);
  EXPECT_EQ(Float16(std::numeric_limits<float>::denorm_min()).bits, 0);
  EXPECT_EQ(Float16(-0.0f).bits, 0x8000);
}

TEST(BFloat16Test, RoundsToNearestEvenBetweenAllNeighbours) {
  for (uint16_t bits = 0; bits < 0x7f7f; ++bits) {
    const uint32_t middle_bits = (static_cast<uint32_t>(bits) << 16) | 0x8000u;
    const float middle = std::bit_cast<float>(middle_bits);
    EXPECT_EQ(BFloat16(middle).bits, bits % 2 == 0 ? bits : bits + 1);
    EXPECT_EQ(BFloat16(std::bit_cast<float>(middle_bits - 1)).bits, bits);
    EXPECT_EQ(BFloat16(std::bit_cast<float>(middle_bits + 1)).bits, bits + 1);
  }
  EXPECT_EQ(BFloatValue(BFloat16(std::numeric_limits<float>::max()).bits),
            std::numeric_limits<double>::infinity());
}

TEST(BFloat16Test, NanStaysNan) {
  EXPECT_TRUE(std::isnan(static_cast<float>(BFloat16(std::nanf("")))));
  // All of its payload is in the half that rounding cuts off.
  EXPECT_TRUE(std::isnan(static_cast<float>(BFloat16(std::bit_cast<float>(0x7f800001u)))));
  EXPECT_TRUE(std::isnan(static_cast<float>(BFloat16(std::bit_cast<float>(0x7fffffffu)))));
}

}  // namespace
}  // namespace ds
