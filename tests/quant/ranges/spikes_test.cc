#include "quant/ranges/spikes.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(Spikes, SmoothAndNoisyCountsHaveNone) {
  EXPECT_THAT(SpikeExcess({}), IsEmpty());
  EXPECT_THAT(SpikeExcess({5, 5, 5}), Each(0));
  EXPECT_THAT(SpikeExcess({1000, 500, 250, 125, 60, 30, 15, 8, 4, 2, 1}), Each(0));
  // Few values, in bins far apart.
  EXPECT_THAT(SpikeExcess({3, 0, 0, 7, 1, 0, 8, 0, 0, 2}), Each(0));
}

TEST(Spikes, AConstantStandsOutFromBothSides) {
  EXPECT_THAT(SpikeExcess({10, 12, 500, 11, 10}), ElementsAre(0, 0, 488, 0, 0));
  // Eight times is the limit.
  EXPECT_THAT(SpikeExcess({10, 10, 80, 10}), Each(0));
  EXPECT_THAT(SpikeExcess({10, 10, 81, 10}), ElementsAre(0, 0, 71, 0));
  // A shoulder on one side is none.
  EXPECT_THAT(SpikeExcess({10, 500, 400, 300, 10}), Each(0));
}

TEST(Spikes, AConstantOnTheEdgeOfTwoBinsIsOne) {
  EXPECT_THAT(SpikeExcess({10, 300, 90, 10}), ElementsAre(0, 290, 80, 0));
  EXPECT_THAT(SpikeExcess({10, 30, 140, 10}), ElementsAre(0, 20, 130, 0));
  // A little beyond the edge: one spike, and its neighbour is like the others.
  EXPECT_THAT(SpikeExcess({10, 300, 20, 10}), ElementsAre(0, 280, 0, 0));
}

TEST(Spikes, AtTheEndsTheOneNeighbourCounts) {
  EXPECT_THAT(SpikeExcess({900, 10, 11, 10}), ElementsAre(890, 0, 0, 0));
  EXPECT_THAT(SpikeExcess({10, 11, 10, 900}), ElementsAre(0, 0, 0, 890));
  EXPECT_THAT(SpikeExcess({900}), ElementsAre(899));
}

// Images of 256 grey values fill every so many bins: each is like the next.
TEST(Spikes, ACombIsNoRowOfSpikes) {
  EXPECT_THAT(SpikeExcess({400, 0, 0, 0, 350, 0, 0, 0, 500, 0, 0, 0, 420}), Each(0));
  EXPECT_THAT(SpikeExcess({400, 0, 0, 9000, 0, 0, 500}), ElementsAre(0, 0, 0, 8500, 0, 0, 0));
}

}  // namespace
}  // namespace ds
