#include "trainer/mixed_precision_trainer.h"

#include <cmath>
#include <limits>

#include "ATen/Parallel.h"
#include "base/status.h"
#include "graph/onnx/onnx.h"
#include "graph/zoo/zoo.h"
#include "gtest/gtest.h"
#include "tests/trainer/train_ranks.h"

namespace ds {
namespace {

absl::Status Example(const std::string& onnx, TrainResult* result) {
  DS_ASSIGN_OR_RETURN(
      Graph graph, BuildModel("lenet", {.channels = 1, .height = 28, .width = 28, .classes = 4}));
  DS_ASSIGN_OR_RETURN(auto model, GraphModule::Create(std::move(graph)));
  DS_ASSIGN_OR_RETURN(auto optimizer, Optimizer::Create(model->parameters(),
                                                        {.name = "adamw", .learning_rate = 1e-3}));
  DS_ASSIGN_OR_RETURN(auto loss, Loss::Create({}));
  DatasetOptions options = SyntheticData();
  options.height = options.width = 28;
  options.size = 512;
  DS_ASSIGN_OR_RETURN(auto data, OpenDataset(options));
  DS_ASSIGN_OR_RETURN(auto loader, DataLoader::Create(data, {.batch_size = 32}));

  MixedPrecisionTrainer trainer(*model, *optimizer, loss, {.precision = "auto"});
  DS_ASSIGN_OR_RETURN(*result, trainer.train(*loader, /*epochs=*/3));
  return ExportOnnx(model->ExportGraph(), onnx);
}

TEST(MixedPrecisionTrainer, TheDocumentedExampleLearns) {
  at::set_num_threads(1);
  const std::string onnx = ::testing::TempDir() + "/example.onnx";
  TrainResult result;
  const absl::Status status = Example(onnx, &result);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(result.steps, 3 * 512 / 32);
  EXPECT_GT(result.last.train_accuracy, 0.5) << "chance is 0.25";
  EXPECT_TRUE(ImportOnnx(onnx).ok());
}

TEST(MixedPrecisionTrainer, RanksHoldTheSameBitsAfterEveryStep) {
  for (int world : {2, 3}) {
    const auto [ranks, recorders] = TrainRanks(world, "resnet8", 12 * world, 2, kAsItIs);
    ASSERT_FALSE(recorders[0].hashes.empty());
    for (const HashRecorder& recorder : recorders)
      EXPECT_EQ(recorder.hashes, recorders[0].hashes) << world << " ranks";
  }
}

TEST(MixedPrecisionTrainer, BucketsAndOverlapDoNotChangeABit) {
  const auto [one, reference] = TrainRanks(2, "resnet8", 16, 1, kAsItIs);
  const auto [other, recorders] = TrainRanks(2, "resnet8", 16, 1, [](int, RankOptions& options) {
    options.exchange.bucket_mb = 0.001;
    options.exchange.overlap = false;
  });
  EXPECT_EQ(reference[0].hashes, recorders[0].hashes);
}

// Two ranks on halves of each batch against one rank on the whole, without BatchNorm: the same
// mathematics, other additions. Each step adds a few roundings of 2^-24 relative to the largest
// weight; 16 steps with momentum stay within 2^-17 of it.
TEST(MixedPrecisionTrainer, TwoRanksOnTheConcatenatedBatchEqualOne) {
  const auto [one, alone] = TrainRanks(1, "mlp", 32, 4, kAsItIs);
  const auto [two, together] = TrainRanks(2, "mlp", 32, 4, kAsItIs);
  ASSERT_EQ(alone[0].hashes.size(), together[0].hashes.size());
  ExpectNearlyEqual(*one[0].module, *two[0].module);
}

TEST(MixedPrecisionTrainer, ANonFiniteGradientOnOneRankSkipsTheStepOnAll) {
  constexpr int64_t kBadStep = 2;
  for (const float bad : {INFINITY, NAN}) {
    const auto [ranks, recorders] =
        TrainRanks(2, "mlp", 16, 1, [&](int rank, RankOptions& options) {
          options.precision = "fp16";
          options.scaler.initial_scale = 1024;
          if (rank == 1) {
            options.parts.loss_fault = [bad](int64_t step, at::Tensor& loss) {
              if (step == kBadStep) loss = loss * bad;
            };
          }
        });
    for (const HashRecorder& recorder : recorders) {
      ASSERT_GT(recorder.hashes.size(), static_cast<size_t>(kBadStep + 1));
      EXPECT_EQ(recorder.hashes, recorders[0].hashes);
      for (int64_t step = 1; step <= kBadStep + 1; ++step) {
        const size_t i = static_cast<size_t>(step);
        EXPECT_EQ(recorder.reports[i].skipped, step == kBadStep);
        EXPECT_EQ(recorder.hashes[i] == recorder.hashes[i - 1], step == kBadStep)
            << "step " << step;
      }
      EXPECT_EQ(recorder.reports[kBadStep].loss_scale, 1024);
      EXPECT_EQ(recorder.reports[kBadStep + 1].loss_scale, 512)
          << "the scale must back off on every rank";
    }
  }
}

TEST(MixedPrecisionTrainer, AStateThatCountsNoStepsIsRefusedAndChangesNothing) {
  Rank rank = MakeRank("mlp", 16, 0, 1, {.precision = "fp32"});
  const std::map<std::string, double> good = rank.trainer->State();
  for (const char* name : {"epoch", "step", "skipped", "skipped_in_a_row"}) {
    for (const double bad : {-1.0, 0.5, 1e300, std::nan("")}) {
      std::map<std::string, double> state = good;
      state[name] = bad;
      EXPECT_EQ(rank.trainer->LoadState(state).code(), absl::StatusCode::kInvalidArgument)
          << name << " " << bad;
      EXPECT_EQ(rank.trainer->State(), good);
    }
  }
  EXPECT_TRUE(rank.trainer->LoadState(good).ok());
}

TEST(MixedPrecisionTrainer, DivergenceForGoodIsAnErrorThatNamesTheStep) {
  Rank rank = MakeRank("mlp", 16, 0, 1, {.precision = "fp32", .max_skipped_in_a_row = 3},
                       {.loss_fault = [](int64_t, at::Tensor& loss) {
                         loss = loss * std::numeric_limits<float>::quiet_NaN();
                       }});
  const std::string before = rank.trainer->ParameterHash();
  const absl::Status status = rank.trainer->train(*rank.loader, 1).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(status.message()).find("step 2"), std::string::npos) << status;
  EXPECT_EQ(rank.trainer->ParameterHash(), before);
}

}  // namespace
}  // namespace ds
