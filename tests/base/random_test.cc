#include "base/random.h"

#include <cmath>
#include <set>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

using ::testing::ElementsAre;

// The known-answer vectors that the authors publish for philox4x32 with 10 rounds.
TEST(PhiloxTest, GivesTheKnownAnswers) {
  EXPECT_THAT(Philox4x32({0, 0, 0, 0}, {0, 0}),
              ElementsAre(0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u));
  constexpr uint32_t kOnes = 0xffffffffu;
  EXPECT_THAT(Philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
              ElementsAre(0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu));
  EXPECT_THAT(
      Philox4x32({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}),
      ElementsAre(0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u));
}

TEST(CounterRandomTest, DrawsAreTheBlocksOfItsKeyInOrder) {
  constexpr uint64_t kSeed = 0x0123456789abcdefu, kStream = 0xfedcba9876543210u;
  CounterRandom random(kSeed, kStream, 7);
  for (uint32_t block = 0; block < 3; ++block) {
    for (uint32_t word :
         Philox4x32({block, 7, 0x76543210u, 0xfedcba98u}, {0x89abcdefu, 0x01234567u})) {
      EXPECT_EQ(random.NextUint32(), word);
    }
  }
}

TEST(CounterRandomTest, EveryPartOfTheKeyMatters) {
  const auto first = [](uint64_t seed, uint64_t stream, uint32_t substream) {
    return CounterRandom(seed, stream, substream).NextUint32();
  };
  const std::set<uint32_t> draws = {first(0, 0, 0),
                                    first(1, 0, 0),
                                    first(uint64_t{1} << 32, 0, 0),
                                    first(0, 1, 0),
                                    first(0, uint64_t{1} << 32, 0),
                                    first(0, 0, 1)};
  EXPECT_EQ(draws.size(), 6u);
  EXPECT_EQ(first(5, 6, 7), first(5, 6, 7));
}

TEST(CounterRandomTest, FloatsAndDoublesAreInTheUnitInterval) {
  CounterRandom random(1);
  double sum_float = 0, sum_double = 0;
  constexpr int kDraws = 100'000;
  for (int i = 0; i < kDraws; ++i) {
    const float f = random.NextFloat();
    const double d = random.NextDouble();
    ASSERT_GE(f, 0.0f);
    ASSERT_LT(f, 1.0f);
    ASSERT_GE(d, 0.0);
    ASSERT_LT(d, 1.0);
    sum_float += f;
    sum_double += d;
  }
  // Five standard deviations of the mean of uniform numbers; the seed is fixed, so nothing
  // flickers.
  const double tolerance = 5 * std::sqrt(1.0 / 12 / kDraws);
  EXPECT_NEAR(sum_float / kDraws, 0.5, tolerance);
  EXPECT_NEAR(sum_double / kDraws, 0.5, tolerance);
}

TEST(CounterRandomTest, BelowIsEvenOverItsRange) {
  for (uint32_t bound : {1u, 2u, 3u, 7u, 10u}) {
    CounterRandom random(2, bound);
    constexpr int kDraws = 70'000;
    std::vector<int> counts(bound);
    for (int i = 0; i < kDraws; ++i) {
      const uint32_t draw = random.NextBelow(bound);
      ASSERT_LT(draw, bound);
      ++counts[draw];
    }
    const double expected = static_cast<double>(kDraws) / bound;
    for (int count : counts) EXPECT_NEAR(count, expected, 5 * std::sqrt(expected)) << bound;
  }
}

// Three quarters of the range: without rejection the lower third would come twice as often.
TEST(CounterRandomTest, BelowHasNoBiasForLargeBounds) {
  CounterRandom random(3);
  constexpr uint32_t kBound = 3u << 30;
  constexpr int kDraws = 60'000;
  int low = 0;
  for (int i = 0; i < kDraws; ++i) low += random.NextBelow(kBound) < kBound / 3;
  EXPECT_NEAR(low, kDraws / 3.0, 5 * std::sqrt(kDraws * 2.0 / 9));
}

TEST(CounterRandomTest, NormalHasMeanZeroAndVarianceOne) {
  CounterRandom random(4);
  constexpr int kDraws = 100'000;
  double sum = 0, squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double draw = random.NextNormal();
    ASSERT_TRUE(std::isfinite(draw));
    sum += draw;
    squares += draw * draw;
  }
  EXPECT_NEAR(sum / kDraws, 0.0, 5 / std::sqrt(kDraws));
  EXPECT_NEAR(squares / kDraws, 1.0, 5 * std::sqrt(2.0 / kDraws));
}

// The published FNV-1a values of "" and "a" and "foobar".
TEST(StreamOfTest, IsFnv1a) {
  EXPECT_EQ(StreamOf("", 0), 0xcbf29ce484222325u);
  EXPECT_EQ(StreamOf("a", 1), 0xaf63dc4c8601ec8cu);
  EXPECT_EQ(StreamOf("foobar", 6), 0x85944171f73967e8u);
}

}  // namespace
}  // namespace ds
