// Training with local steps: when replicas are equal, what each rank does alone, and what they
// agree on.
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <thread>

#include "ATen/Parallel.h"
#include "ATen/core/grad_mode.h"
#include "base/status.h"
#include "comm/inprocess/inprocess.h"
#include "gtest/gtest.h"
#include "tests/trainer/train_ranks.h"

namespace ds {
namespace {

AdjustOptions Every(int64_t steps, const CompressionOptions& compression = {}) {
  return [=](int, RankOptions& options) {
    options.local_steps.every = steps;
    options.local_steps.outer_learning_rate = 0.7;
    options.local_steps.outer_momentum = 0.9;
    options.exchange.compression = compression;
  };
}

// 8 steps an epoch: outer steps after 3, 6 and, the epoch being over, 8.
TEST(LocalStepsTraining, ReplicasAreEqualAfterOuterStepsAndOnlyThen) {
  for (int world : {2, 3}) {
    for (const CompressionOptions& compression : {CompressionOptions(), FourBits()}) {
      const auto [ranks, recorders] =
          TrainRanks(world, "resnet8", 16 * world, 2, Every(3, compression));
      const int64_t steps =
          recorders[0].reports.empty() ? 0 : recorders[0].reports[0].steps_per_epoch;
      ASSERT_EQ(recorders[0].hashes.size(), static_cast<size_t>(2 * steps));
      for (size_t step = 0; step < recorders[0].hashes.size(); ++step) {
        const int64_t in_epoch = static_cast<int64_t>(step) % steps + 1;
        const bool outer = in_epoch % 3 == 0 || in_epoch == steps;
        for (const HashRecorder& recorder : recorders) {
          EXPECT_EQ(recorder.reports[step].synchronized, outer) << "step " << step;
          EXPECT_EQ(recorder.reports[step].wire_bytes > 0, outer) << "step " << step;
          EXPECT_EQ(recorder.reports[step].times.exchange > 0, outer) << "step " << step;
        }
        for (size_t r = 1; r < recorders.size(); ++r) {
          EXPECT_EQ(recorders[r].hashes[step] == recorders[0].hashes[step], outer)
              << "step " << step << ", rank " << r;
        }
      }
    }
  }
}

TEST(LocalStepsTraining, RunsRepeatBitForBitWhateverTheBuckets) {
  const auto hashes = [](double bucket_mb) {
    return TrainRanks(2, "resnet8", 32, 2,
                      [=](int rank, RankOptions& options) {
                        Every(3, FourBits())(rank, options);
                        options.exchange.bucket_mb = bucket_mb;
                      })
        .second[1]
        .hashes;
  };
  const std::vector<std::string> first = hashes(4);
  EXPECT_EQ(first, hashes(4));
  EXPECT_EQ(first, hashes(0.001));
}

TEST(LocalStepsTraining, EveryStepIsTheOldPathWhateverTheOuterOptimiser) {
  const auto hashes = [](double rate) {
    return TrainRanks(2, "resnet8", 16, 1,
                      [=](int, RankOptions& options) {
                        options.local_steps.outer_learning_rate = rate;
                        options.local_steps.outer_momentum = rate / 2;
                      })
        .second[0]
        .hashes;
  };
  EXPECT_EQ(hashes(0.7), hashes(0.1));
}

// SGD with momentum and weight decay is linear in the gradient. So with one step a round (an epoch
// has no more), outer learning rate 1 and no outer momentum, the mean of the ranks' steps is the
// step along the mean gradient: the bound is that of TwoRanksOnTheConcatenatedBatchEqualOne.
TEST(LocalStepsTraining, OneStepARoundIsGradientAveraging) {
  for (int world : {1, 2}) {
    const auto [one, averaged] = TrainRanks(world, "mlp", 128, 8, kAsItIs);
    const auto [two, local] = TrainRanks(world, "mlp", 128, 8, [](int, RankOptions& options) {
      options.local_steps.every = 2;
      options.local_steps.outer_learning_rate = 1;
      options.local_steps.outer_momentum = 0;
    });
    ASSERT_EQ(averaged[0].hashes.size(), 8u);
    ExpectNearlyEqual(*one[0].module, *two[0].module);
  }
}

TEST(LocalStepsTraining, MicroBatchesClippingAndAveragesWork) {
  std::map<std::string, at::Tensor> averages[2], weights[2];
  const auto [ranks, recorders] = TrainRanks(
      2, "mlp", 16, 2,
      [](int, RankOptions& options) {
        options.local_steps.every = 3;
        options.accumulate = 2;
        options.clip_norm = 0.1;
        options.ema = {.enabled = true, .decay = 0.9};
      },
      [&](int rank, MixedPrecisionTrainer& trainer) { averages[rank] = trainer.ema()->State(); });
  EXPECT_EQ(recorders[0].hashes.back(), recorders[1].hashes.back());
  EXPECT_NE(recorders[0].hashes.front(), recorders[1].hashes.front());
  ASSERT_FALSE(averages[0].empty());
  for (const auto& [name, tensor] : averages[0]) {
    EXPECT_TRUE(at::equal(tensor, averages[1].at(name)))
        << name << " differs between the ranks: they would test different models";
  }
  EXPECT_EQ(averages[0].at("step").item<int64_t>(), recorders[0].reports.back().step + 1)
      << "decay counts every step";
  const at::Tensor last = ranks[0].module->parameters()[0].tensor.detach();
  EXPECT_FALSE(at::equal(averages[0].at("ema/" + ranks[0].module->parameters()[0].name), last));
}

// fp16: rank 1 alone skips its step and backs its scale off; at the outer step both go on with the
// lower scale.
TEST(LocalStepsTraining, ANonFiniteGradientSkipsTheStepOfItsRankOnly) {
  constexpr size_t kBadStep = 1;
  int64_t skipped[2] = {};
  const auto [ranks, recorders] = TrainRanks(
      2, "mlp", 32, 1,
      [](int rank, RankOptions& options) {
        options.precision = "fp16";
        options.scaler.initial_scale = 1024;
        options.local_steps.every = 4;
        if (rank == 1) {
          options.parts.loss_fault = [](int64_t step, at::Tensor& loss) {
            if (step == kBadStep) loss = loss * INFINITY;
          };
        }
      },
      [&](int rank, MixedPrecisionTrainer& trainer) { skipped[rank] = trainer.skipped_steps(); });
  for (size_t r = 0; r < 2; ++r) {
    const HashRecorder& recorder = recorders[r];
    ASSERT_EQ(recorder.hashes.size(), 4u);
    for (size_t step = 1; step < 4; ++step) {
      const bool bad = r == 1 && step == kBadStep;
      EXPECT_EQ(recorder.reports[step].skipped, bad) << "rank " << r << ", step " << step;
      EXPECT_EQ(recorder.hashes[step] == recorder.hashes[step - 1], bad)
          << "rank " << r << ", step " << step;
    }
    EXPECT_EQ(recorder.reports[3].loss_scale, r == 1 ? 512 : 1024);
    EXPECT_EQ(skipped[r], 1) << "all know it after the outer step";
  }
  EXPECT_EQ(recorders[0].hashes[3], recorders[1].hashes[3]);
}

TEST(LocalStepsTraining, TheLossScaleIsAgreedAtOuterSteps) {
  const auto [ranks, recorders] = TrainRanks(2, "mlp", 32, 2, [](int rank, RankOptions& options) {
    options.precision = "fp16";
    options.scaler.initial_scale = 1024;
    options.local_steps.every = 2;
    if (rank == 0) {
      options.parts.loss_fault = [](int64_t step, at::Tensor& loss) {
        if (step == 0) loss = loss * INFINITY;
      };
    }
  });
  EXPECT_EQ(recorders[1].reports[1].loss_scale, 1024);
  for (const HashRecorder& recorder : recorders) EXPECT_EQ(recorder.reports[2].loss_scale, 512);
}

bool AllZero(const std::map<std::string, at::Tensor>& state) {
  for (const auto& [name, tensor] : state) {
    if (tensor.count_nonzero().item<int64_t>() > 0) return false;
  }
  return true;
}

TEST(LocalStepsTraining, ARoundWhoseWeightsAreLostGoesBackToTheAnchor) {
  StepByHand(
      3, "mlp",
      [](int, RankOptions& options) {
        options.local_steps.every = 2;
        options.ema = {.enabled = true, .decay = 0.9};
        options.exchange.compression = FourBits();
      },
      [](int rank, Rank& objects, const StepFunction& step) {
        for (int i = 0; i < 2; ++i) ASSERT_TRUE(step().ok());
        const std::string anchor = objects.trainer->ParameterHash();
        const CompressorState residuals = objects.trainer->exchange_state().residuals;
        ASSERT_TRUE(step().ok());
        if (rank == 1) {
          at::NoGradGuard no_grad;
          at::Tensor weight = objects.module->parameters()[0].tensor;
          weight.fill_(INFINITY);
        }
        const absl::StatusOr<StepReport> lost = step();
        ASSERT_TRUE(lost.ok()) << lost.status();
        EXPECT_TRUE(lost->skipped && lost->synchronized);
        EXPECT_EQ(objects.trainer->ParameterHash(), anchor);
        EXPECT_EQ(objects.trainer->exchange_state().residuals, residuals);
        EXPECT_EQ(AllZero(objects.optimizer->State()), rank == 1)
            << "who lost its weights begins anew, the others go on";
        EXPECT_EQ(objects.trainer->skipped_steps(), 3 * 2)
            << "nothing of the round counts, on any rank";
        for (int i = 0; i < 2; ++i) {
          const absl::StatusOr<StepReport> next = step();
          ASSERT_TRUE(next.ok()) << next.status();
          EXPECT_FALSE(next->skipped);
        }
        EXPECT_NE(objects.trainer->ParameterHash(), anchor);
        for (const auto& [name, tensor] : objects.trainer->ema()->State()) {
          EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << name;
        }
      });
}

TEST(LocalStepsTraining, WeightsThatAreLostAgainAndAgainEndTheRunOnEveryRank) {
  StepByHand(
      2, "mlp", [](int, RankOptions& options) { options.local_steps.every = 2; },
      [](int rank, Rank& objects, const StepFunction& step) {
        for (int i = 0; i < 10; ++i) {
          const absl::StatusOr<StepReport> report = step();
          EXPECT_EQ(report.ok(), i < 9) << "step " << i << ": " << report.status();
          if (!report.ok()) {
            EXPECT_EQ(report.status().code(), absl::StatusCode::kInvalidArgument);
            EXPECT_NE(
                std::string(report.status().message()).find("5 outer steps in a row, at step 9"),
                std::string::npos)
                << report.status();
          }
          at::NoGradGuard no_grad;
          at::Tensor weight = objects.module->parameters()[0].tensor;
          if (rank == 1 && i % 2 == 0) weight.fill_(std::numeric_limits<float>::quiet_NaN());
        }
      });
}

// Rank 1 alone never gets a good gradient; rank 0, which would go on, must not wait for it for
// ever.
TEST(LocalStepsTraining, ARankThatNeverStepsEndsTheRunOnEveryRankAtAnOuterStep) {
  StepByHand(
      2, "mlp",
      [](int rank, RankOptions& options) {
        options.local_steps.every = 3;
        options.max_skipped_in_a_row = 4;
        if (rank == 1)
          options.parts.loss_fault = [](int64_t, at::Tensor& loss) { loss = loss * INFINITY; };
      },
      [](int, Rank& objects, const StepFunction& step) {
        for (int i = 0; i < 6; ++i) {
          const absl::StatusOr<StepReport> report = step();
          EXPECT_EQ(report.ok(), i < 5) << "step " << i << ": " << report.status();
          if (report.ok()) continue;
          EXPECT_EQ(report.status().code(), absl::StatusCode::kInvalidArgument);
          EXPECT_NE(std::string(report.status().message()).find("6 steps in a row, at step 5"),
                    std::string::npos)
              << report.status();
        }
      });
}

TEST(LocalStepsTraining, ATraceShowsEachOuterStepsExchange) {
  StepByHand(
      2, "mlp",
      [](int, RankOptions& options) {
        options.local_steps.every = 2;
        options.exchange.trace = true;
      },
      [](int, Rank& objects, const StepFunction& step) {
        for (int i = 0; i < 4; ++i) ASSERT_TRUE(step().ok());
        int flags = 0, buckets = 0;
        for (const TraceSpan& span : objects.trainer->TakeTrace()) {
          flags += span.name == "flag" && span.track == "exchange";
          buckets += span.name == "bucket 0" && span.track == "exchange";
        }
        EXPECT_EQ(flags, 2);
        EXPECT_EQ(buckets, 2);
      });
}

TEST(LocalStepsTraining, RefusesOptionsOutOfRange) {
  for (const int64_t every : {0, -3}) {
    Rank rank = MakeRank("mlp", 16, 0, 1, {.precision = "fp32", .local_steps = {.every = every}});
    EXPECT_EQ(rank.trainer->train(*rank.loader, 1).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  Rank rank = MakeRank("mlp", 16, 0, 1,
                       {.precision = "fp32", .local_steps = {.every = 2, .outer_momentum = 1.5}});
  EXPECT_EQ(rank.trainer->train(*rank.loader, 1).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ds
