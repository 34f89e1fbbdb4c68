// Where targets do not all count alike, ranks and micro-batches weigh by what counts: a step of
// several is the step of one that had all the samples.
#include <memory>
#include <thread>
#include <vector>

#include "ATen/Functions.h"
#include "comm/inprocess/inprocess.h"
#include "graph/builder.h"
#include "gtest/gtest.h"
#include "trainer/mixed_precision_trainer.h"

namespace ds {
namespace {

constexpr int64_t kTokens = 3, kFeatures = 5, kClasses = 4;

Graph TokenModel() {
  Builder b("tokens", 3);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, kTokens, kFeatures});
  b.Output(b.TokenLinear(x, "head", kClasses, 0.5), "logits");
  return *b.Finish();
}

// Sample i of one set: its tokens, of which all but `counted` have the label 255.
Batch Samples(const std::vector<int>& counted, int64_t first) {
  const auto count = static_cast<int64_t>(counted.size());
  std::vector<float> inputs;
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t t = 0; t < kTokens; ++t) {
      labels.push_back(t < counted[static_cast<size_t>(i)] ? (first + i + t) % kClasses : 255);
      for (int64_t f = 0; f < kFeatures; ++f)
        inputs.push_back(static_cast<float>((7 * (first + i) + 5 * t + 3 * f) % 11) / 11 - 0.5f);
    }
  }
  return {.inputs = {{"x", Tensor::From<float>({count, kTokens, kFeatures}, inputs)}},
          .targets = Tensor::From<int64_t>({count, kTokens}, labels)};
}

struct Stepped {
  at::Tensor weight;
  StepReport report;
  absl::Status status;
};

// One step of plain gradient descent on one rank's micro-batches.
Stepped StepOn(const std::vector<Batch>& micro_batches, int64_t global_samples,
               const LossOptions& loss, Communicator* communicator) {
  auto module = *GraphModule::Create(TokenModel());
  auto optimizer =
      *Optimizer::Create(module->parameters(),
                         {.learning_rate = 1, .momentum = 0, .nesterov = false, .weight_decay = 0});
  MixedPrecisionTrainer trainer(
      *module, *optimizer, *Loss::Create(loss),
      {.precision = "fp32", .accumulate = static_cast<int64_t>(micro_batches.size())},
      {.communicator = communicator});
  Stepped stepped;
  const absl::StatusOr<StepReport> report = trainer.Step(micro_batches, global_samples);
  stepped.status = report.status();
  if (report.ok()) stepped.report = *report;
  stepped.weight = module->parameters()[0].tensor.detach().clone();
  return stepped;
}

const LossOptions kOptions[] = {
    {.ignore_index = 255},
    {.label_smoothing = 0.1, .ignore_index = 255, .class_weights = {1, 5, 0.25, 2}}};

void ExpectNear(const at::Tensor& a, const at::Tensor& b) {
  EXPECT_LE((a - b).abs().max().item<double>(), 2e-6);
}

TEST(WeightedLoss, RanksWeighByWhatCounts) {
  const Batch whole = Samples({3, 1, 0, 0, 2}, 0), mine = Samples({3, 1}, 0),
              others = Samples({0, 0, 2}, 2);
  for (const LossOptions& loss : kOptions) {
    const Stepped alone = StepOn({whole}, 5, loss, nullptr);
    ASSERT_TRUE(alone.status.ok()) << alone.status;
    std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(2);
    Stepped ranks[2];
    std::vector<std::thread> threads;
    for (size_t r = 0; r < 2; ++r) {
      threads.emplace_back(
          [&, r] { ranks[r] = StepOn({r == 0 ? mine : others}, 5, loss, group[r].get()); });
    }
    for (std::thread& thread : threads) thread.join();
    for (const Stepped& rank : ranks) {
      ASSERT_TRUE(rank.status.ok()) << rank.status;
      ExpectNear(rank.weight, alone.weight);
    }
    EXPECT_TRUE(at::equal(ranks[0].weight, ranks[1].weight));
    const double mean = (ranks[0].report.loss * ranks[0].report.weight +
                         ranks[1].report.loss * ranks[1].report.weight) /
                        (ranks[0].report.weight + ranks[1].report.weight);
    EXPECT_NEAR(mean, alone.report.loss, 1e-6);
    EXPECT_EQ(ranks[0].report.counted + ranks[1].report.counted, 6);
  }
}

TEST(WeightedLoss, MicroBatchesWeighByWhatCounts) {
  for (const LossOptions& loss : kOptions) {
    const Stepped whole = StepOn({Samples({3, 1, 0, 0, 2, 1}, 0)}, 6, loss, nullptr);
    const Stepped parts =
        StepOn({Samples({3, 1}, 0), Samples({0, 0}, 2), Samples({2, 1}, 4)}, 6, loss, nullptr);
    ASSERT_TRUE(parts.status.ok()) << parts.status;
    ExpectNear(parts.weight, whole.weight);
    EXPECT_NEAR(parts.report.loss, whole.report.loss, 1e-6);
  }
}

TEST(WeightedLoss, AStepInWhichNothingCountsChangesNothing) {
  const Stepped stepped = StepOn({Samples({0, 0}, 0)}, 2, kOptions[0], nullptr);
  ASSERT_TRUE(stepped.status.ok()) << stepped.status;
  EXPECT_TRUE(at::equal(stepped.weight,
                        (*GraphModule::Create(TokenModel()))->parameters()[0].tensor.detach()));
}

TEST(WeightedLoss, ARankWithAWrongLabelFailsAndTheOtherDoesNotWait) {
  Batch wrong = Samples({1}, 0);
  wrong.targets->mutable_span<int64_t>()[0] = 77;
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(2);
  Stepped ranks[2];
  std::vector<std::thread> threads;
  for (size_t r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      ranks[r] = StepOn({r == 0 ? wrong : Samples({2}, 1)}, 2, kOptions[1], group[r].get());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ranks[0].status.code(), absl::StatusCode::kInvalidArgument) << ranks[0].status;
  EXPECT_TRUE(ranks[1].status.ok()) << ranks[1].status;
  EXPECT_TRUE(ranks[1].report.skipped);
}

}  // namespace
}  // namespace ds
