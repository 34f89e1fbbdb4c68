#include "trainer/optim/schedule.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

constexpr double kRounding = 1e-14;  // of a few double operations on values below 1

std::unique_ptr<Schedule> Make(const ScheduleOptions& options) {
  absl::StatusOr<std::unique_ptr<Schedule>> schedule = Schedule::Create(options);
  EXPECT_TRUE(schedule.ok()) << schedule.status();
  return std::move(schedule).value();
}

TEST(ScheduleTest, ConstantStaysAtThePeakAfterALinearWarmUp) {
  const auto schedule = Make({.name = "constant",
                              .peak = 0.4,
                              .total_steps = 100,
                              .steps_per_epoch = 8,
                              .warmup_epochs = 0.5});
  for (int step = 0; step < 4; ++step)
    EXPECT_DOUBLE_EQ(schedule->LearningRate(step), 0.1 * (step + 1));
  for (int step : {4, 50, 99, 1000}) EXPECT_EQ(schedule->LearningRate(step), 0.4);
}

TEST(ScheduleTest, CosineFallsFromThePeakToTheFinalRatioAtTheLastStep) {
  const auto schedule = Make({.name = "cosine",
                              .peak = 0.2,
                              .total_steps = 31,
                              .steps_per_epoch = 10,
                              .warmup_epochs = 1,
                              .final_ratio = 0.05});
  EXPECT_DOUBLE_EQ(schedule->LearningRate(0), 0.02);
  EXPECT_DOUBLE_EQ(schedule->LearningRate(9), 0.2);
  for (int step = 10; step <= 30; ++step) {
    const double wanted = 0.01 + 0.19 * (1 + std::cos(std::numbers::pi * (step - 10) / 20.0)) / 2;
    EXPECT_NEAR(schedule->LearningRate(step), wanted, kRounding) << step;
  }
  EXPECT_NEAR(schedule->LearningRate(30), 0.01, kRounding);
  EXPECT_NEAR(schedule->LearningRate(5000), 0.01, kRounding) << "beyond the end it stays";
}

TEST(ScheduleTest, StepFallsByGammaAtEachMilestone) {
  const auto schedule = Make({.name = "step",
                              .peak = 1,
                              .total_steps = 90,
                              .steps_per_epoch = 10,
                              .milestones = {3, 5},
                              .gamma = 0.1});
  EXPECT_EQ(schedule->LearningRate(29), 1);
  EXPECT_NEAR(schedule->LearningRate(30), 0.1, kRounding);
  EXPECT_NEAR(schedule->LearningRate(49), 0.1, kRounding);
  EXPECT_NEAR(schedule->LearningRate(50), 0.01, kRounding);
  EXPECT_NEAR(schedule->LearningRate(89), 0.01, kRounding);
}

TEST(ScheduleTest, OneCycleRisesAndFalls) {
  const ScheduleOptions options{.name = "one_cycle",
                                .peak = 0.5,
                                .total_steps = 41,
                                .start_fraction = 0.25,
                                .initial_divisor = 25,
                                .final_divisor = 100};
  const auto schedule = Make(options);
  EXPECT_NEAR(schedule->LearningRate(0), 0.5 / 25, kRounding);
  EXPECT_NEAR(schedule->LearningRate(5), (0.5 + 0.5 / 25) / 2, kRounding) << "half way up a cosine";
  EXPECT_NEAR(schedule->LearningRate(10), 0.5, kRounding);
  EXPECT_NEAR(schedule->LearningRate(25), (0.5 + 0.5 / 2500) / 2, kRounding) << "half way down";
  EXPECT_NEAR(schedule->LearningRate(40), 0.5 / 2500, kRounding);
  for (int step = 0; step < 10; ++step)
    EXPECT_LT(schedule->LearningRate(step), schedule->LearningRate(step + 1));
  for (int step = 10; step < 40; ++step)
    EXPECT_GT(schedule->LearningRate(step), schedule->LearningRate(step + 1));
}

TEST(ScheduleTest, PlateauFallsAfterMoreThanPatienceEpochsWithoutABetterLoss) {
  const ScheduleOptions options{
      .name = "plateau", .peak = 1, .total_steps = 100, .gamma = 0.5, .patience = 2};
  const auto schedule = Make(options);
  schedule->ReportEpoch(1.0);
  schedule->ReportEpoch(1.0);
  schedule->ReportEpoch(std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(schedule->LearningRate(3), 1);
  const auto resumed = Make(options);
  ASSERT_TRUE(resumed->LoadState(schedule->State()).ok());
  for (Schedule* each : {schedule.get(), resumed.get()}) {
    each->ReportEpoch(1.5);
    EXPECT_EQ(each->LearningRate(4), 0.5);
    each->ReportEpoch(0.9);
    each->ReportEpoch(0.95);
    each->ReportEpoch(0.95);
    EXPECT_EQ(each->LearningRate(7), 0.5);
    each->ReportEpoch(0.95);
    EXPECT_EQ(each->LearningRate(8), 0.25);
  }
  EXPECT_EQ(resumed->LoadState({{"best", 1.0}}).code(), absl::StatusCode::kNotFound);
}

TEST(ScheduleTest, TheStateOfANewPlateauIsFiniteForJson) {
  for (const auto& [name, value] : Make({.name = "plateau"})->State())
    EXPECT_TRUE(std::isfinite(value)) << name;
}

TEST(ScheduleTest, EveryScheduleIsPositiveOrZeroAndFiniteInShortRuns) {
  for (const char* name : {"constant", "cosine", "step", "one_cycle", "plateau"}) {
    for (int64_t total : {1, 2, 3}) {
      for (double warmup : {0.0, 1.0, 5.0}) {
        const auto schedule = Make({.name = name, .total_steps = total, .warmup_epochs = warmup});
        for (int64_t step = 0; step <= total; ++step) {
          const double rate = schedule->LearningRate(step);
          EXPECT_TRUE(std::isfinite(rate) && rate >= 0 && rate <= 0.1 + kRounding)
              << name << " " << total << " " << step;
        }
      }
    }
  }
}

TEST(ScheduleTest, RefusesBadOptions) {
  const auto refused = [](const ScheduleOptions& options) {
    return Schedule::Create(options).status().code() == absl::StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused({.name = "sine"}));
  EXPECT_TRUE(refused({.peak = 0}));
  EXPECT_TRUE(refused({.total_steps = 0}));
  EXPECT_TRUE(refused({.steps_per_epoch = 0}));
  EXPECT_TRUE(refused({.warmup_epochs = -1}));
  EXPECT_TRUE(refused({.milestones = {3, 3}}));
  EXPECT_TRUE(refused({.milestones = {3, 2}}));
  EXPECT_TRUE(refused({.gamma = 0}));
  EXPECT_TRUE(refused({.start_fraction = 1}));
  EXPECT_TRUE(refused({.initial_divisor = 0.5}));
}

}  // namespace
}  // namespace ds
