// What a run that diverges says, and that every rank says it.
#include "trainer/divergence.h"

#include <limits>
#include <string>
#include <vector>

#include "ATen/core/grad_mode.h"
#include "graph/builder.h"
#include "gtest/gtest.h"
#include "tests/trainer/train_ranks.h"

namespace ds {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

bool Says(const absl::Status& status, absl::string_view words) {
  return status.message().find(words) != absl::string_view::npos;
}

// Runs `body` on ranks with resnet8, which has batch norms; their errors.
std::vector<absl::Status> Statuses(int world, const AdjustOptions& adjust,
                                   const std::function<absl::Status(int rank, Rank& objects)>& body,
                                   const OptimizerOptions& optimizer = {.learning_rate = 0.05}) {
  std::vector<absl::Status> statuses(static_cast<size_t>(world));
  OnRanks(world, "resnet8", adjust, optimizer, [&](int rank, Rank& objects) {
    statuses[static_cast<size_t>(rank)] = body(rank, objects);
  });
  return statuses;
}

std::vector<absl::Status> Train(int world, const AdjustOptions& adjust,
                                const OptimizerOptions& optimizer = {.learning_rate = 0.05}) {
  return Statuses(
      world, adjust,
      [](int, Rank& objects) { return objects.trainer->train(*objects.loader, 3).status(); },
      optimizer);
}

void ExpectAllSay(const std::vector<absl::Status>& statuses,
                  const std::vector<std::string>& words) {
  for (const absl::Status& status : statuses) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_EQ(status, statuses[0]) << "the ranks do not say the same";
    for (const std::string& word : words) EXPECT_TRUE(Says(status, word)) << word << ": " << status;
  }
}

// A rate of 1e30 takes the weights out of float32 in a step or two, long before 50 are skipped.
TEST(Divergence, LostParametersEndTheRunAtOnceOnAllRanks) {
  for (const int world : {1, 2}) {
    for (const char* name : {"sgd", "adamw", "lamb"}) {
      SCOPED_TRACE(name);
      ExpectAllSay(Train(world, kAsItIs, {.name = name, .learning_rate = 3e38}),
                   {"diverged", "'", "optimizer.learning_rate"});
    }
  }
}

// Nothing is gained by skipping on.
TEST(Divergence, LostParametersAreNotWaitedFor) {
  for (const int world : {1, 2}) {
    const auto lose_one = [](int, Rank& objects) {
      objects.module->parameters()[0].tensor.detach().fill_(kNan);
      return objects.trainer->train(*objects.loader, 3).status();
    };
    ExpectAllSay(Statuses(world, kAsItIs, lose_one), {"not finite for 1 step,", "parameter '"});
  }
}

TEST(Divergence, AGradientThatNeverBecomesFiniteIsNamedWithRankAndFirstStep) {
  const auto statuses = Train(2, [](int rank, RankOptions& options) {
    options.max_skipped_in_a_row = 4;
    if (rank != 1) return;
    options.parts.loss_fault = [](int64_t step, at::Tensor& loss) {
      if (step >= 2) loss = loss * kNan;
    };
  });
  ExpectAllSay(statuses, {"for 4 steps in a row, at step 5", "the gradient of '", "on rank 1",
                          "at step 2;", "optimizer.learning_rate"});
}

TEST(Divergence, InFloat16TheLossScaleOrTheRangeIsNamed) {
  for (const double scale : {2.0, 1e9}) {
    const auto statuses = Train(2, [&](int, RankOptions& options) {
      options.precision = "fp16";
      options.scaler.initial_scale = scale;
      options.max_skipped_in_a_row = 4;
      options.parts.loss_fault = [](int64_t, at::Tensor& loss) { loss = loss * kInf; };
    });
    ExpectAllSay(statuses, {scale > 2 ? "precision.initial_scale" : "precision.mode=bf16",
                            "first on rank 0, at step 0;"});
  }
}

TEST(Divergence, AnOverflowOfTheExchangeIsNamed) {
  const auto statuses = Train(2, [](int, RankOptions& options) {
    options.max_skipped_in_a_row = 4;
    options.exchange.compression = {.method = "fp16", .minimum_size = 1};
    options.parts.loss_fault = [](int64_t, at::Tensor& loss) { loss = loss * 1e12; };
  });
  ExpectAllSay(statuses, {"the mean over the ranks", "compression.method", "at step 0;"});
}

TEST(Divergence, ARunOfWhichNoStepWasTakenDoesNotEndWell) {
  for (const int64_t every : {1, 3}) {
    const auto statuses = Train(2, [&](int rank, RankOptions& options) {
      options.local_steps.every = every;
      if (rank == 0)
        options.parts.loss_fault = [](int64_t, at::Tensor& loss) { loss = loss * kNan; };
    });
    ExpectAllSay(statuses, {"none of the last epoch's", "on rank 0"});
  }
}

// One rank's running variance: averaging makes it everybody's.
TEST(Divergence, AStatisticThatIsLostEndsTheRunWithItsEpoch) {
  const auto statuses = Statuses(2, kAsItIs, [](int rank, Rank& objects) {
    EXPECT_TRUE(objects.loader->StartEpoch(0).ok());
    EXPECT_TRUE(objects.trainer->Prepare(**objects.loader->Next()).ok());
    at::Tensor variance = objects.module->buffers()[1].tensor;
    if (rank == 1) variance.fill_(kInf);
    return objects.trainer->train(*objects.loader, 1).status();
  });
  ExpectAllSay(statuses, {"diverged in epoch 1", "statistic '"});
}

TEST(Divergence, AnEvaluationWithoutAFiniteLossIsAnError) {
  const auto statuses = Statuses(2, kAsItIs, [](int, Rank& objects) -> absl::Status {
    const at::NoGradGuard no_grad;
    at::Tensor weight = objects.module->parameters().back().tensor;
    weight.fill_(kNan);
    return objects.trainer->evaluate(*objects.loader).status();
  });
  ExpectAllSay(statuses, {"evaluation is not finite", "parameter '"});
}

// x -> Add(constant) -> Softmax -> Mul(x) -> Linear
std::unique_ptr<GraphModule> Masked(const std::vector<float>& constant) {
  Builder builder("masked", 3);
  const ValueId x = builder.Input("x", DType::kFloat32, {kDynamicDim, 4});
  const ValueId mask = builder.Constant("mask", Tensor::From<float>({4}, constant));
  const ValueId shares = builder.Op("Softmax", {builder.Add(x, mask)}, {{"axis", int64_t{-1}}});
  builder.Output(builder.Linear(builder.Mul(shares, x), "fc", 3), "y");
  return *GraphModule::Create(*builder.Finish());
}

TEST(Divergence, AMaskIsNoFaultButWhatReachesTheOutputIs) {
  const auto find = [](const std::vector<float>& constant, const at::Tensor& inputs) {
    const auto module = Masked(constant);
    const auto found = FindInForward(*module, {inputs});
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() && found->has_value() ? (*found)->what : std::string();
  };
  const at::Tensor ones = at::ones({2, 4});
  EXPECT_EQ(find({0, -kInf, 0, -kInf}, ones), "");
  EXPECT_NE(find({0, kNan, 0, 0}, ones).find("constant 'mask'"), std::string::npos);
  EXPECT_NE(find({-kInf, -kInf, -kInf, -kInf}, ones).find("constant 'mask'"), std::string::npos);
  at::Tensor bad = ones.clone();
  bad[1][2] = kNan;
  EXPECT_NE(find({0, -kInf, 0, 0}, bad).find("input 'x' holds 1 NaN"), std::string::npos);
  // Finite operands, of which a node makes what is not: 3e38 * 1 * weights is more than float32
  // has.
  const std::string made = find({0, -kInf, 0, 0}, ones * 3e38);
  EXPECT_TRUE(made.empty() || made.find("of finite values") != std::string::npos) << made;
}

TEST(Divergence, LookingChangesNoStatistic) {
  Rank rank = MakeRank("resnet8", 8, 0, 1, {.precision = "fp32"});
  rank.module->set_training(true);
  std::vector<at::Tensor> before;
  for (const NamedTensor& buffer : rank.module->buffers()) before.push_back(buffer.tensor.clone());
  ASSERT_TRUE(FindInForward(*rank.module, {at::randn({4, 1, 8, 8})}).ok());
  for (size_t i = 0; i < before.size(); ++i)
    EXPECT_TRUE(at::equal(before[i], rank.module->buffers()[i].tensor));
}

}  // namespace
}  // namespace ds
