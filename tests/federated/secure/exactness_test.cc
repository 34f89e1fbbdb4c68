// The secure sum is the plain integer sum bit for bit, whoever drops out in whichever phase, as
// long as the threshold is left; with one site fewer nothing comes out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "tests/federated/secure/secure_run.h"

namespace ds::federated {
namespace {

constexpr uint64_t kSeed = 7;

int CeilLog2(int n) {
  int bits = 0;
  while ((1 << bits) < n) ++bits;
  return bits;
}

// `count` of the sites, drawn.
SecureRun::Sites Draw(const SecureRun::Sites& from, int count, uint64_t stream) {
  std::vector<int> all(from.begin(), from.end());
  CounterRandom random(kSeed, stream, 0);
  for (size_t i = all.size(); i > 1; --i)
    std::swap(all[i - 1], all[random.NextBelow(static_cast<uint32_t>(i))]);
  return SecureRun::Sites(all.begin(), all.begin() + count);
}

SecureRun::Sites Without(SecureRun::Sites sites, const SecureRun::Sites& gone) {
  for (int site : gone) sites.erase(site);
  return sites;
}

class Exactness : public testing::TestWithParam<int> {};

TEST_P(Exactness, TheSumIsThePlainSumWithDropoutsInEveryPhase) {
  const int sites = GetParam();
  SecureRun run(sites, {.mode = "on", .rounds_a_setup = 5, .refuse_close_sets = false});
  const int threshold = static_cast<int>(*LeastThreshold(sites, 1));
  // Those who may drop out, shared among the phases; the roster, of which the threshold is, loses
  // none.
  const int spare = sites - threshold;
  const SecureRun::Sites no_shares = Draw(run.All(), spare / 3, 1);
  ASSERT_TRUE(run.SetUp(0, {}, no_shares).ok());
  ASSERT_EQ(run.server().threshold(), threshold);
  const SecureRun::Sites in = Without(run.All(), no_shares);
  int index = 0;
  for (int bits : {1, 2, 4, 8, 16}) {
    const SecureRound round = run.Round(10 + index, index, bits + CeilLog2(sites), 37);
    const int left = spare - static_cast<int>(no_shares.size());
    // The last width loses all that may be lost, in the uploads; the others some in each phase.
    const int no_upload = bits == 16 ? left : left / 2;
    const SecureRun::Sites uploads = Without(in, Draw(in, no_upload, 100 + index));
    const SecureRun::Sites answering = Draw(in, threshold, 200 + index);
    const auto sum = run.Sum(round, bits, uploads, answering);
    ASSERT_TRUE(sum.ok()) << "seed " << kSeed << ", " << bits << " bits: " << sum.status();
    EXPECT_EQ(sum->bytes(), SecureRun::PlainSum(round, bits, uploads).bytes())
        << "seed " << kSeed << ", " << bits << " bits";
    ++index;
  }
}

INSTANTIATE_TEST_SUITE_P(Sites, Exactness, testing::Values(3, 4, 16, 64, 128),
                         [](const auto& info) { return absl::StrCat(info.param); });

TEST(Abandoned, OneUploadFewerThanTheThreshold) {
  SecureRun run(16, {.mode = "on", .rounds_a_setup = 2});
  ASSERT_TRUE(run.SetUp(0).ok());
  const SecureRound round = run.Round(0, 0, 12, 5);
  const SecureRun::Sites few = Draw(run.All(), 8, 1);
  const auto sum = run.Sum(round, 8, few, run.All());
  EXPECT_EQ(sum.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(sum.status().message(), testing::HasSubstr("8 sites, the threshold is 9"));
}

TEST(Abandoned, OneAnswerFewerThanTheThreshold) {
  SecureRun run(16, {.mode = "on", .rounds_a_setup = 2});
  ASSERT_TRUE(run.SetUp(0).ok());
  const SecureRound round = run.Round(0, 0, 12, 5);
  const auto sum = run.Sum(round, 8, run.All(), Draw(run.All(), 8, 1));
  EXPECT_EQ(sum.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(sum.status().message(), testing::HasSubstr("8 answers, 9 are needed"));
}

TEST(Abandoned, OneSiteFewerThanTheThresholdGivesShares) {
  SecureRun run(16, {.mode = "on", .rounds_a_setup = 2});
  const absl::Status status = run.SetUp(0, {}, Draw(run.All(), 8, 1));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), testing::HasSubstr("8 sites gave shares, 9 are needed"));
}

TEST(Abandoned, AnAbandonedRoundCostsTheNextOneNothing) {
  SecureRun run(5, {.mode = "on", .rounds_a_setup = 3});
  ASSERT_TRUE(run.SetUp(0).ok());
  SecureRound round = run.Round(0, 0, 12, 5);
  EXPECT_FALSE(run.Sum(round, 8, {0, 1, 2}, run.All()).ok());
  // Of the same model, with masks of its own.
  SecureRound again = run.Round(1, 1, 12, 5);
  again.base_digest = round.base_digest;
  const auto sum = run.Sum(again, 8, run.All(), run.All());
  ASSERT_TRUE(sum.ok()) << sum.status();
  EXPECT_EQ(sum->bytes(), SecureRun::PlainSum(again, 8, run.All()).bytes());
}

TEST(Strict, TheSumIsThePlainSum) {
  SecureRun run(7, {.mode = "strict", .rounds_a_setup = 2});
  ASSERT_TRUE(run.SetUp(0).ok());
  for (int index : {0, 1}) {
    const SecureRound round = run.Round(index, index, 7, 11);
    const auto sum = run.Sum(round, 4, {0, 1, 2, 4, 6}, {0, 2, 3, 5, 6});
    ASSERT_TRUE(sum.ok()) << sum.status();
    EXPECT_EQ(sum->bytes(), SecureRun::PlainSum(round, 4, {0, 1, 2, 4, 6}).bytes());
  }
}

TEST(Epochs, TheNextSetUpIsMadeWhileTheLastOneIsUsed) {
  SecureRun run(5, {.mode = "on", .rounds_a_setup = 2});
  ASSERT_TRUE(run.SetUp(0).ok());
  for (int index : {0, 1}) {
    const SecureRound round = run.Round(index, index, 11, 9);
    ASSERT_TRUE(run.Sum(round, 8, run.All(), {0, 1, 2, 3}).ok());
    for (int site : run.All()) ASSERT_TRUE(run.agent(site).ForgetBefore(index).ok());
  }
  ASSERT_TRUE(run.SetUp(1, {4}).ok());
  const SecureRun::Sites four = {0, 1, 2, 3};
  for (int site : four) ASSERT_TRUE(run.Restart(site).ok());
  const SecureRound round = run.Round(2, 0, 10, 9);
  const auto sum = run.Sum(round, 8, four, four);
  ASSERT_TRUE(sum.ok()) << sum.status();
  EXPECT_EQ(sum->bytes(), SecureRun::PlainSum(round, 8, four).bytes());
}

// The masks of a site's own update look like noise: nothing of it is left in what it sends.
TEST(Masks, WhatIsSentSaysNothingByItself) {
  SecureRun run(3, {.mode = "on", .rounds_a_setup = 1});
  ASSERT_TRUE(run.SetUp(0).ok());
  const SecureRound round = run.Round(0, 0, 8, 1 << 14);
  const IntegerVector zeros(8, round.values);
  const auto masked = run.agent(0).Mask(round, zeros);
  ASSERT_TRUE(masked.ok()) << masked.status();
  std::vector<double> count(256);
  for (int64_t i = 0; i < masked->size(); ++i) ++count[masked->Get(i)];
  double chi = 0;
  for (double one : count) chi += (one - 64) * (one - 64) / 64;
  // 255 degrees of freedom: beyond it with a chance below 10^-9.
  EXPECT_LT(chi, 410);
}

}  // namespace
}  // namespace ds::federated
