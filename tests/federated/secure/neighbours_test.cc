#include "federated/secure/setup/neighbours.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/federated/secure/secure_run.h"

namespace ds::federated::secure {
namespace {

TEST(Neighbours, UpTo255SitesEverybodyIsEverybodys) {
  const Neighbours all(255, 129, 1, {});
  EXPECT_EQ(all.share_threshold(), 129);
  EXPECT_EQ(all.Holders(7).size(), 255u);
  EXPECT_EQ(all.PointOf(7, 0), 1);
  EXPECT_EQ(all.PointOf(7, 254), 255);
}

TEST(Neighbours, AboveTheyAreOnARegularGraphThatFollowsTheNonces) {
  constexpr int kSites = 1000;
  const Neighbours one(kSites, 501, 1, HashFields("a", {})),
      same(kSites, 501, 1, HashFields("a", {})), other(kSites, 501, 1, HashFields("b", {}));
  int shared = 0;
  for (int site = 0; site < kSites; ++site) {
    ASSERT_EQ(one.Holders(site).size(), static_cast<size_t>(kDegree + 1));
    ASSERT_NE(one.PointOf(site, site), 0);
    for (int holder : one.Holders(site)) {
      ASSERT_TRUE(one.Adjacent(holder, site));
      ASSERT_GE(one.PointOf(site, holder), 1);
      shared += holder != site && other.Adjacent(site, holder);
    }
    ASSERT_EQ(one.Holders(site), same.Holders(site));
  }
  // Of another order a site keeps a neighbour with a chance of 128 / 999.
  EXPECT_NEAR(shared / double(kSites) / kDegree, kDegree / 999.0, 0.01);
  // 2t > k + 1 + c.
  EXPECT_EQ(one.share_threshold(), 66);
}

// Neighbours are drawn evenly: each pair as often as any, whatever its place on the roster.
TEST(Neighbours, NoPlaceOnTheRosterIsNearerToAnother) {
  std::vector<int> count(256);
  constexpr int kOrders = 400;
  for (int order = 0; order < kOrders; ++order) {
    const Neighbours drawn(256, 129, 1, HashFields("order", {std::to_string(order)}));
    for (int holder : drawn.Holders(0)) ++count[holder];
  }
  EXPECT_EQ(count[0], kOrders);
  // 128 of 255, five and a half standard deviations of 400 draws to each side.
  EXPECT_GT(*std::min_element(count.begin() + 1, count.end()), 200 - 55);
  EXPECT_LT(*std::max_element(count.begin() + 1, count.end()), 200 + 56);
}

TEST(Neighbours, CollidingNeighboursAreCountedByTheHypergeometricTail) {
  EXPECT_EQ(MostColludingNeighbours(1000, 0, 128), 0);
  EXPECT_EQ(MostColludingNeighbours(1000, 1, 128), 1);
  // 1 - P(at most k) for 50 of 999, 128 drawn, times 1000: computed with exact fractions.
  EXPECT_EQ(MostColludingNeighbours(1000, 50, 128), 29);
  EXPECT_EQ(MostColludingNeighbours(1000, 100, 128), 42);
}

TEST(Ring, TheSumIsThePlainSumWithDropouts) {
  SecureRun run(256, {.mode = "on", .rounds_a_setup = 1});
  SecureRun::Sites late = {3, 77, 200}, in = run.All();
  for (int site : late) in.erase(site);
  const absl::Status status = run.SetUp(0);
  ASSERT_TRUE(status.ok()) << status;
  const SecureRound round = run.Round(0, 0, 12, 3);
  SecureRun::Sites answering = run.All();
  for (int site = 10; site < 256; site += 5) answering.erase(site);
  const auto sum = run.Sum(round, 4, in, answering);
  ASSERT_TRUE(sum.ok()) << sum.status();
  EXPECT_EQ(sum->bytes(), SecureRun::PlainSum(round, 4, in).bytes());
}

}  // namespace
}  // namespace ds::federated::secure
