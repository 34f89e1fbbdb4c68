// Packed integers against a bit-by-bit reference, every width; sums modulo 2^bits.
#include "federated/update/integers.h"

#include "base/random.h"
#include "federated/update/packing.h"
#include "gtest/gtest.h"

namespace ds::federated {
namespace {

constexpr uint64_t kSeed = 20260401;

IntegerVector Random(int bits, int64_t count, uint64_t stream) {
  CounterRandom random(kSeed, stream);
  IntegerVector values(bits, count);
  for (int64_t i = 0; i < count; ++i) values.Set(i, random.NextUint32());
  return values;
}

std::vector<std::byte> PackedBitByBit(const IntegerVector& values) {
  std::vector<std::byte> out(static_cast<size_t>((values.size() * values.bits() + 7) / 8));
  for (int64_t i = 0; i < values.size(); ++i) {
    for (int bit = 0; bit < values.bits(); ++bit) {
      const int64_t at = i * values.bits() + bit;
      if ((values.Get(i) >> bit) & 1) out[at / 8] |= std::byte{1} << (at % 8);
    }
  }
  return out;
}

TEST(FederatedIntegersTest, PackingIsBitByBitAndUnpackingBringsBack) {
  for (int bits = 1; bits <= kMostBits; ++bits) {
    for (const int64_t count : {0, 1, 7, 8, 9, 31, 64, 65, 1021}) {
      const IntegerVector values = Random(bits, count, static_cast<uint64_t>(bits));
      const std::vector<std::byte> packed = Pack(values);
      ASSERT_EQ(packed, PackedBitByBit(values)) << bits << " bits, " << count << " values";
      const auto back = Unpack(packed, bits, count);
      ASSERT_TRUE(back.ok()) << back.status();
      ASSERT_EQ(back->bytes(), values.bytes()) << bits << " bits, " << count << " values";
    }
  }
}

// What the processor's own functions give is what PackingIsBitByBit... has tested.
TEST(FederatedIntegersTest, EveryInstructionSetPacksAlike) {
  for (int bits = 1; bits <= kMostBits; ++bits) {
    for (const int64_t count : {1, 7, 8, 16, 63, 64, 72, 1021}) {
      const IntegerVector values = Random(bits, count, static_cast<uint64_t>(bits));
      const std::vector<std::byte> packed = Pack(values);
      // No byte behind the last one is touched.
      std::vector<std::byte> portable(packed.size() + 8, std::byte{0xa5});
      PortablePacking().pack[bits - 1](values.bytes().data(), count, portable.data());
      ASSERT_EQ(absl::MakeConstSpan(portable).first(packed.size()), absl::MakeConstSpan(packed))
          << bits << " bits, " << count << " values";
      for (size_t i = packed.size(); i < portable.size(); ++i)
        ASSERT_EQ(portable[i], std::byte{0xa5}) << bits << " bits, " << count << " values";
      IntegerVector back(bits, count);
      PortablePacking().unpack[bits - 1](packed.data(), count, back.bytes().data());
      ASSERT_EQ(back.bytes(), values.bytes()) << bits << " bits, " << count << " values";
    }
  }
}

TEST(FederatedIntegersTest, NothingBehindAPieceIsWritten) {
  for (int bits = 1; bits <= kMostBits; ++bits) {
    for (const int64_t count : {1, 8, 16, 24, 72, 73}) {
      const IntegerVector values = Random(bits, count, 8);
      const auto size = static_cast<size_t>(PackedSize(count, bits));
      std::vector<std::byte> packed(size + 40, std::byte{0xa5});
      PackValues(values, 0, count, absl::MakeSpan(packed).first(size));
      std::vector<std::byte> back(values.bytes().size() + 40, std::byte{0xa5});
      UnpackValues(absl::MakeConstSpan(packed).first(size), bits, count, back.data());
      for (size_t i = 0; i < 40; ++i) {
        ASSERT_EQ(packed[size + i], std::byte{0xa5}) << bits << " bits, " << count << " values";
        ASSERT_EQ(back[values.bytes().size() + i], std::byte{0xa5}) << bits << " bits, " << count;
      }
    }
  }
}

TEST(FederatedIntegersTest, APieceIsAPieceOfTheWhole) {
  for (const int bits : {1, 3, 8, 9, 13, 16, 17, 31, 32}) {
    const IntegerVector values = Random(bits, 501, 1);
    const std::vector<std::byte> whole = Pack(values);
    for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 501}, {8, 16}, {496, 5}}) {
      std::vector<std::byte> piece(static_cast<size_t>(PackedSize(count, bits)));
      PackValues(values, first, count, absl::MakeSpan(piece));
      const absl::Span<const std::byte> expected =
          absl::MakeConstSpan(whole).subspan(static_cast<size_t>(first / 8 * bits), piece.size());
      EXPECT_EQ(absl::MakeConstSpan(piece), expected) << bits << " bits from " << first;
    }
  }
}

TEST(FederatedIntegersTest, UnpackRefusesWhatPackNeverWrites) {
  std::vector<std::byte> packed = Pack(Random(5, 13, 2));  // 65 bits: 7 are left over
  EXPECT_EQ(Unpack(packed, 5, 15).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Unpack(packed, 5, 11).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Unpack(packed, 0, 13).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Unpack(packed, 33, 13).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Unpack(packed, 5, -1).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Unpack(packed, 5, INT64_MAX / 5).status().code(), absl::StatusCode::kDataLoss);
  packed.back() |= std::byte{0x80};
  EXPECT_EQ(Unpack(packed, 5, 13).status().code(), absl::StatusCode::kDataLoss);
}

TEST(FederatedIntegersTest, SumsAreModuloTwoToTheBits) {
  for (int bits = 1; bits <= kMostBits; ++bits) {
    const IntegerVector a = Random(bits, 77, 3), b = Random(bits, 77, 4);
    IntegerVector sum = a;
    sum.Add(b);
    for (int64_t i = 0; i < a.size(); ++i) {
      const uint64_t expected = (uint64_t{a.Get(i)} + b.Get(i)) % (uint64_t{1} << bits);
      ASSERT_EQ(sum.Get(i), expected) << bits << " bits, value " << i;
    }
  }
}

TEST(FederatedIntegersTest, AddPackedIsAWeightedSum) {
  for (const int packed_bits : {1, 4, 8, 11, 16}) {
    for (const int bits : {packed_bits, packed_bits + 3, 16, 27, 32}) {
      if (bits < packed_bits) continue;
      const int64_t count = 9001;
      const IntegerVector update = Random(packed_bits, count, 5);
      const std::vector<std::byte> packed = Pack(update);
      IntegerVector sum = Random(bits, count, 6), before = sum;
      // From the third group of eight on.
      const size_t skipped = static_cast<size_t>(3 * packed_bits);
      sum.AddPacked(absl::MakeConstSpan(packed).subspan(skipped), packed_bits, 24, count - 24, 13);
      for (int64_t i = 0; i < count; ++i) {
        const uint64_t added = i < 24 ? 0 : uint64_t{13} * update.Get(i);
        ASSERT_EQ(sum.Get(i), (before.Get(i) + added) % (uint64_t{1} << bits))
            << packed_bits << " into " << bits << " bits, value " << i;
      }
    }
  }
}

TEST(FederatedIntegersTest, WidenKeepsTheValues) {
  for (const auto& [from, to] : {std::pair<int, int>{1, 1}, {4, 7}, {4, 12}, {8, 20}, {13, 32}}) {
    const IntegerVector values = Random(from, 301, 7), wide = values.Widen(to);
    EXPECT_EQ(wide.bits(), to);
    for (int64_t i = 0; i < values.size(); ++i) ASSERT_EQ(wide.Get(i), values.Get(i));
  }
}

}  // namespace
}  // namespace ds::federated
