#include "trainer/optim/loss_scaler.h"

#include <cmath>

#include "gtest/gtest.h"

namespace ds {
namespace {

TEST(LossScalerTest, GrowsAfterAnUnbrokenIntervalAndBacksOffAtOnce) {
  LossScaler scaler = *LossScaler::Create(
      {.enabled = true, .initial_scale = 8, .growth_interval = 3, .max_scale = 16});
  EXPECT_FALSE(scaler.Update(false));
  EXPECT_FALSE(scaler.Update(false));
  EXPECT_TRUE(scaler.Update(true));  // breaks the row
  EXPECT_EQ(scaler.scale(), 4);
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(scaler.Update(false));
  EXPECT_EQ(scaler.scale(), 4);
  EXPECT_FALSE(scaler.Update(false));
  EXPECT_EQ(scaler.scale(), 8);
  for (int i = 0; i < 9; ++i) scaler.Update(false);
  EXPECT_EQ(scaler.scale(), 16) << "never above max_scale";
  EXPECT_EQ(scaler.growths(), 2);
  EXPECT_EQ(scaler.backoffs(), 1);
  EXPECT_EQ(scaler.skipped_steps(), 1);
}

TEST(LossScalerTest, NeverFallsBelowOne) {
  LossScaler scaler = *LossScaler::Create({.enabled = true, .initial_scale = 4});
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(scaler.Update(true));
  EXPECT_EQ(scaler.scale(), 1);
  EXPECT_EQ(scaler.skipped_steps(), 10);
}

TEST(LossScalerTest, DisabledItStaysAtOneAndStillReportsStepsToSkip) {
  LossScaler scaler = *LossScaler::Create({});
  EXPECT_FALSE(scaler.Update(false));
  EXPECT_TRUE(scaler.Update(true));
  EXPECT_EQ(scaler.scale(), 1);
  EXPECT_EQ(scaler.skipped_steps(), 1);
  EXPECT_EQ(scaler.backoffs(), 0);
}

TEST(LossScalerTest, SavedAndLoadedItGoesOnAsIfNothingHappened) {
  const LossScalerOptions options{.enabled = true, .initial_scale = 1024, .growth_interval = 5};
  LossScaler straight = *LossScaler::Create(options);
  const auto flag = [](int step) { return step % 11 == 7; };
  for (int step = 0; step < 23; ++step) straight.Update(flag(step));
  LossScaler resumed = *LossScaler::Create(options);
  ASSERT_TRUE(resumed.LoadState(straight.State()).ok());
  for (int step = 23; step < 60; ++step) {
    EXPECT_EQ(straight.Update(flag(step)), resumed.Update(flag(step)));
    EXPECT_EQ(straight.State(), resumed.State());
  }
}

TEST(LossScalerTest, RefusesAStateThatMakesNoSense) {
  LossScaler scaler = *LossScaler::Create({.enabled = true});
  const auto good = scaler.State();
  auto missing = good;
  missing.erase("growths");
  EXPECT_EQ(scaler.LoadState(missing).code(), absl::StatusCode::kNotFound);
  for (const double bad : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    auto state = good;
    state["scale"] = bad;
    EXPECT_EQ(scaler.LoadState(state).code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(scaler.State(), good);
}

TEST(LossScalerTest, RefusesOptionsOutOfRange) {
  for (const double bad : {0.0, -1.0, static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
    for (const LossScalerOptions& options :
         {LossScalerOptions{.initial_scale = bad}, LossScalerOptions{.growth_factor = bad},
          LossScalerOptions{.backoff_factor = bad}, LossScalerOptions{.max_scale = bad}}) {
      EXPECT_EQ(LossScaler::Create(options).status().code(), absl::StatusCode::kInvalidArgument);
    }
  }
  EXPECT_FALSE(LossScaler::Create({.growth_factor = 1}).ok());
  EXPECT_FALSE(LossScaler::Create({.backoff_factor = 1}).ok());
  EXPECT_FALSE(LossScaler::Create({.growth_interval = 0}).ok());
  const absl::Status status = LossScaler::Create({.growth_interval = -3}).status();
  EXPECT_NE(std::string(status.message()).find("growth_interval is -3"), std::string::npos);
}

}  // namespace
}  // namespace ds
