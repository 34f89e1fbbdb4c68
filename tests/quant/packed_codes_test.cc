// Codes in bytes: the layout byte by byte, every width there and back.
#include "quant/packed_codes.h"

#include "base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

using ::testing::HasSubstr;

std::vector<int> Bytes(const Tensor& tensor) {
  std::vector<int> bytes;
  for (const std::byte byte : tensor.bytes()) bytes.push_back(static_cast<int>(byte));
  return bytes;
}

TEST(PackedCodesTest, LowBitsComeFirstAndSpareBitsAreZero) {
  const auto s4 = *PackCodes({1, -1, -8, 7, -3}, {5}, {.bits = 4});
  EXPECT_EQ(s4.dtype(), DType::kInt4);
  EXPECT_EQ(Bytes(s4), std::vector<int>({0xF1, 0x78, 0x0D}));
  const auto u2 = *PackCodes({1, 2, 3, 0, 3}, {5}, {.bits = 2, .is_signed = false});
  EXPECT_EQ(u2.dtype(), DType::kUInt2);
  EXPECT_EQ(Bytes(u2), std::vector<int>({1 | 2 << 2 | 3 << 4, 3}));
  const auto s2 = *PackCodes({-2, -1, 0, 1, -1}, {5}, {.bits = 2});
  EXPECT_EQ(Bytes(s2), std::vector<int>({2 | 3 << 2 | 0 << 4 | 1 << 6, 3}));
  EXPECT_EQ(Bytes(*PackCodes({-128, 127}, {2}, {.bits = 8})), std::vector<int>({0x80, 0x7F}));
}

TEST(PackedCodesTest, EveryWidthComesBackAndTakesItsBytes) {
  const int stored[] = {0, 0, 2, 4, 4, 8, 8, 8, 8};
  CounterRandom random(5);
  for (int bits = 2; bits <= 8; ++bits) {
    for (const bool is_signed : {true, false}) {
      const QuantType type = {.bits = bits, .is_signed = is_signed};
      for (const int64_t count : {0, 1, 2, 3, 4, 5, 7, 8, 13, 64, 1021}) {
        std::vector<int32_t> codes(count);
        for (int32_t& code : codes)
          code = type.min() + static_cast<int32_t>(random.NextBelow(1u << bits));
        if (count > 1) codes[0] = type.min(), codes[count - 1] = type.max();
        const auto tensor = PackCodes(codes, {1, count}, type);
        ASSERT_TRUE(tensor.ok());
        EXPECT_EQ(tensor->shape(), Shape({1, count}));
        EXPECT_EQ(tensor->dtype(), StorageType(type));
        EXPECT_EQ(tensor->size_bytes(), (count * stored[bits] + 7) / 8) << bits;
        EXPECT_EQ(*UnpackCodes(*tensor), codes) << bits << " bits, " << count;
      }
    }
  }
}

TEST(PackedCodesTest, WhatDoesNotFitIsRefusedAndNamed) {
  const auto refused = [](const absl::StatusOr<Tensor>& tensor, const char* what) {
    EXPECT_EQ(tensor.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(tensor.status().message(), HasSubstr(what));
  };
  refused(PackCodes({0, 4}, {2}, {.bits = 3}), "code 1 is 4");
  refused(PackCodes({-4, 0}, {2}, {.bits = 3, .narrow = true}), "code 0 is -4");
  refused(PackCodes({0, -1}, {2}, {.bits = 8, .is_signed = false}), "code 1 is -1");
  refused(PackCodes({0, 0}, {3}, {.bits = 8}), "do not fill");
  refused(PackCodes({}, {-1}, {.bits = 8}), "negative extent");
  refused(PackCodes({0}, {1}, {.bits = 1}), "bits");
  EXPECT_EQ(UnpackCodes(Tensor(DType::kInt32, {2})).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ds
