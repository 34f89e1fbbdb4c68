#include "federated/agent/site_updates.h"

#include "gtest/gtest.h"
#include "tests/federated/secure/test_vault.h"

namespace ds::federated {
namespace {

SiteUpdate Update(int64_t round, float residual) {
  SiteUpdate update;
  update.round = round;
  update.base_version = 3;
  update.base_digest = std::string(64, 'd');
  update.levels = IntegerVector(5, 7);
  for (int64_t i = 0; i < 7; ++i) update.levels.Set(i, static_cast<uint32_t>(3 * i + 1));
  update.residual = {residual, -2.5f};
  update.own_control = {1, 2, 3};
  return update;
}

TEST(SiteUpdatesTest, DecodeGivesWhatWasEncoded) {
  const SiteUpdate update = Update(9, 0.5f);
  const absl::StatusOr<SiteUpdate> again = SiteUpdate::Decode(update.Encode());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->round, 9);
  EXPECT_EQ(again->previous, -1);
  EXPECT_EQ(again->base_version, 3);
  EXPECT_EQ(again->base_digest, update.base_digest);
  EXPECT_EQ(again->residual, update.residual);
  EXPECT_EQ(again->own_control, update.own_control);
  ASSERT_EQ(again->levels.bits(), 5);
  ASSERT_EQ(again->levels.size(), 7);
  for (int64_t i = 0; i < 7; ++i) EXPECT_EQ(again->levels.Get(i), update.levels.Get(i));
}

TEST(SiteUpdatesTest, NoShorterOrLongerBytesAreTaken) {
  const std::string bytes = Update(9, 0.5f).Encode();
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_TRUE(absl::IsDataLoss(SiteUpdate::Decode(bytes.substr(0, size)).status())) << size;
  EXPECT_TRUE(absl::IsDataLoss(SiteUpdate::Decode(bytes + "x").status()));
}

std::unique_ptr<SiteUpdates> Opened(const std::shared_ptr<Vault>& vault) {
  absl::StatusOr<std::unique_ptr<SiteUpdates>> updates = SiteUpdates::Open(vault, "run");
  EXPECT_TRUE(updates.ok()) << updates.status();
  return *std::move(updates);
}

TEST(SiteUpdatesTest, WhatCountedOutlivesWhatIsUnderWay) {
  const auto vault = std::make_shared<TestVault>();
  {
    const auto updates = Opened(vault);
    EXPECT_EQ(updates->counted(), nullptr);
    EXPECT_EQ(updates->under_way(), nullptr);
    ASSERT_TRUE(updates->Begin(Update(0, 10)).ok());
    updates->Count();
    ASSERT_TRUE(updates->Begin(Update(1, 11)).ok());
    updates->Drop();
    EXPECT_EQ(updates->counted()->residual[0], 10);
    ASSERT_TRUE(updates->Begin(Update(2, 12)).ok());
  }
  for (int restart = 0; restart < 2; ++restart) {
    const auto updates = Opened(vault);
    ASSERT_NE(updates->counted(), nullptr);
    EXPECT_EQ(updates->counted()->residual[0], 10);
    ASSERT_NE(updates->under_way(), nullptr);
    EXPECT_EQ(updates->under_way()->round, 2);
  }
  {
    const auto updates = Opened(vault);
    updates->Count();
    ASSERT_TRUE(updates->Begin(Update(5, 15)).ok());
    EXPECT_EQ(updates->counted()->residual[0], 12);
  }
  const auto updates = Opened(vault);
  EXPECT_EQ(updates->counted()->residual[0], 12);
  EXPECT_EQ(updates->under_way()->residual[0], 15);
  ASSERT_TRUE(updates->Clear().ok());
  EXPECT_TRUE(vault->Image().empty());
}

TEST(SiteUpdatesTest, AFullDiskChangesNothing) {
  const auto vault = std::make_shared<TestVault>();
  const auto updates = Opened(vault);
  ASSERT_TRUE(updates->Begin(Update(0, 10)).ok());
  updates->Count();
  vault->FailAfter(0);
  EXPECT_FALSE(updates->Begin(Update(1, 11)).ok());
  EXPECT_EQ(updates->under_way(), nullptr);
  EXPECT_EQ(updates->counted()->residual[0], 10);
}

TEST(SiteUpdatesTest, RunsDoNotSeeEachOther) {
  const auto vault = std::make_shared<TestVault>();
  ASSERT_TRUE(Opened(vault)->Begin(Update(0, 10)).ok());
  EXPECT_EQ((*SiteUpdates::Open(vault, "other"))->under_way(), nullptr);
}

}  // namespace
}  // namespace ds::federated
