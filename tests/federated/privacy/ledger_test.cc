// The ledger: charged before release, over a kill, never beyond the budget.
#include "federated/privacy/ledger.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "federated/store/store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

PrivacyOptions Options(double budget) {
  PrivacyOptions options;
  options.mechanism = "skellam";
  options.epsilon_budget = budget;
  return options;
}

Release SomeRelease() {
  Release release;
  release.mechanism = "skellam";
  release.sensitivity = 50;
  release.variance = 100.0 * 100;
  release.dimension = 1000;
  return release;
}

TEST(Ledger, StopsBeforeTheBudgetIsExceededWithTheArithmetic) {
  Ledger ledger = *Ledger::Create(Options(8));
  int64_t round = 0;
  absl::Status refused;
  while (true) {
    const auto charge = ledger.Ask(round, SomeRelease());
    if (!charge.ok()) {
      refused = charge.status();
      break;
    }
    ASSERT_TRUE(ledger.Apply(*charge).ok());
    EXPECT_NEAR(ledger.epsilon(), charge->epsilon, 1e-12);
    ++round;
  }
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("would be"));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("8.0000 at delta 1e-05"));
  EXPECT_GT(round, 5);
  EXPECT_LE(ledger.epsilon(), 8);
  // One more would have been too much, in truth.
  Accountant accountant;
  ASSERT_TRUE(accountant.Add(SomeRelease(), round + 1).ok());
  EXPECT_GT(accountant.Epsilon(1e-5), 8);
}

TEST(Ledger, WithoutABudgetItOnlyCounts) {
  Ledger ledger = *Ledger::Create(Options(0));
  for (int64_t round = 0; round < 50; ++round)
    ASSERT_TRUE(ledger.Apply(*ledger.Ask(round, SomeRelease())).ok());
  EXPECT_GT(ledger.epsilon(), 8);
}

// Killed after the charge and before the release: the round is not paid for twice, nor for nothing.
TEST(Ledger, ComesBackFromTheStore) {
  const TempFolder folder;
  double spent = 0;
  {
    auto store = *OpenFileStore(folder.path());
    Ledger ledger = *Ledger::Create(Options(20));
    for (int64_t round = 0; round < 4; ++round) {
      const Charge charge = *ledger.Ask(round, SomeRelease());
      ASSERT_TRUE(store->Append(EncodeCharge(charge)).ok());
      ASSERT_TRUE(round == 3 || ledger.Apply(charge).ok());
      spent = charge.epsilon;
    }
  }
  auto store = *OpenFileStore(folder.path());
  Ledger ledger = *Ledger::Create(Options(20));
  ASSERT_TRUE(store
                  ->Replay([&](int64_t, absl::string_view record) {
                    const auto charge = DecodeCharge(record);
                    return charge.ok() ? ledger.Apply(*charge) : charge.status();
                  })
                  .ok());
  EXPECT_EQ(ledger.epsilon(), spent);
  EXPECT_TRUE(ledger.Charged(3));
  EXPECT_EQ(ledger.Ask(3, SomeRelease()).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(ledger.Ask(4, SomeRelease()).ok());
}

TEST(Ledger, RefusesChargesThatCannotBe) {
  Ledger ledger = *Ledger::Create(Options(20));
  Charge charge = *ledger.Ask(0, SomeRelease());
  EXPECT_EQ(ledger.epsilon(), 0) << "asking changes nothing";
  Charge wrong = charge;
  wrong.epsilon /= 2;
  EXPECT_TRUE(absl::IsDataLoss(ledger.Apply(wrong)));
  EXPECT_EQ(ledger.epsilon(), 0);
  ASSERT_TRUE(ledger.Apply(charge).ok());
  EXPECT_EQ(ledger.Apply(charge).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(ledger.Ask(1, Release()).ok());
  PrivacyOptions options;
  options.delta = 0;
  EXPECT_FALSE(Ledger::Create(options).ok());
  options.delta = 1e-5;
  options.epsilon_budget = -1;
  EXPECT_FALSE(Ledger::Create(options).ok());
}

TEST(Charge, IsItselfAgainAfterItsRecord) {
  Charge charge;
  charge.round = 12;
  charge.release = SomeRelease();
  charge.release.sensitivity = 1.0 / 3;
  charge.release.sampling = "fixed";
  charge.release.sampling_rate = 0.1;
  charge.epsilon = 2.0 / 7;
  const Charge again = *DecodeCharge(EncodeCharge(charge));
  EXPECT_EQ(again.round, 12);
  EXPECT_EQ(again.release.mechanism, "skellam");
  EXPECT_EQ(again.release.sensitivity, 1.0 / 3);
  EXPECT_EQ(again.release.variance, charge.release.variance);
  EXPECT_EQ(again.release.sharers, 1);
  EXPECT_EQ(again.release.dimension, 1000);
  EXPECT_EQ(again.release.sampling, "fixed");
  EXPECT_EQ(again.release.sampling_rate, 0.1);
  EXPECT_EQ(again.epsilon, 2.0 / 7);
}

TEST(Charge, RefusesAnythingElse) {
  Charge charge;
  charge.release = SomeRelease();
  const std::string good = EncodeCharge(charge);
  ASSERT_TRUE(DecodeCharge(good).ok());
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"\"round\":0", "\"round\":-1"},
           {"\"round\":0", "\"round\":0.5"},
           {"\"round\":0", "\"round\":18446744073709551615"},
           {"\"round\":0", "\"lap\":0"},
           {"\"round\":0,", ""},
           {"\"round\":0,", "\"round\":0,\"more\":1,"},
           {"\"skellam\"", "7"},
           {"\"epsilon\":0.0", "\"epsilon\":1e999"},
           {"\"epsilon\":0.0", "\"epsilon\":-1"},
           {"\"epsilon\":0.0", "\"epsilon\":\"0\""},
           {"{", "[{"},
           {"}", ""}}) {
    const std::string bad = absl::StrReplaceAll(good, {{from, to}});
    ASSERT_NE(bad, good) << from;
    const auto decoded = DecodeCharge(bad);
    EXPECT_EQ(decoded.status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

}  // namespace
}  // namespace ds::federated
