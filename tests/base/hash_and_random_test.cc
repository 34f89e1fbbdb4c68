#include <cmath>
#include <vector>

#include "base/random.h"
#include "base/sha256.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

// FIPS 180-4 examples, and a message that crosses a block in every way.
TEST(Sha256, KnownAnswers) {
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256Hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(Sha256Hex(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesGiveTheHashOfTheWhole) {
  std::string text;
  for (int i = 0; i < 300; ++i) text.push_back(static_cast<char>(i * 7));
  for (size_t cut = 0; cut <= text.size(); cut += 13) {
    Sha256 hash;
    hash.Update(absl::string_view(text).substr(0, cut));
    hash.Update(absl::string_view(text).substr(cut));
    EXPECT_EQ(hash.Hex(), Sha256Hex(text)) << "cut at " << cut;
  }
}

// The known-answer vectors that come with the Random123 paper.
TEST(Philox, KnownAnswers) {
  using Block = std::array<uint32_t, 4>;
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}),
            (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(CounterRandom, IsAFunctionOfItsKeys) {
  CounterRandom a(1, 2, 3), b(1, 2, 3), other_seed(2, 2, 3), other_stream(1, 3, 3),
      other_substream(1, 2, 4);
  bool seed_differs = false, stream_differs = false, substream_differs = false;
  for (int i = 0; i < 100; ++i) {
    const uint32_t value = a.NextUint32();
    EXPECT_EQ(value, b.NextUint32());
    seed_differs |= value != other_seed.NextUint32();
    stream_differs |= value != other_stream.NextUint32();
    substream_differs |= value != other_substream.NextUint32();
  }
  EXPECT_TRUE(seed_differs && stream_differs && substream_differs);
}

TEST(CounterRandom, BoundedDrawsAreUniform) {
  constexpr int kDraws = 60000, kBound = 6;
  CounterRandom random(7);
  std::vector<int> counts(kBound);
  for (int i = 0; i < kDraws; ++i) ++counts.at(random.NextBelow(kBound));
  const double expected = kDraws / static_cast<double>(kBound);
  double chi_squared = 0;
  for (int count : counts) chi_squared += (count - expected) * (count - expected) / expected;
  EXPECT_LT(chi_squared, 20.5);  // 5 degrees of freedom, p = 0.001
}

TEST(CounterRandom, NormalsHaveMeanZeroAndVarianceOne) {
  constexpr int kDraws = 100000;
  CounterRandom random(11);
  double sum = 0, squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double value = random.NextNormal();
    sum += value;
    squares += value * value;
  }
  EXPECT_LT(std::abs(sum / kDraws), 4 / std::sqrt(kDraws));
  EXPECT_LT(std::abs(squares / kDraws - 1), 4 * std::sqrt(2.0 / kDraws));
}

}  // namespace
}  // namespace ds
