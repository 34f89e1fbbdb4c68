// Gates in training: that the share is reached, replicas stay equal, ranks count together, and a
// penalty that is in no other loss is in this one.
#include "jobs/train/gated_training.h"

#include <cmath>
#include <thread>
#include <utility>
#include <vector>

#include "ATen/Parallel.h"
#include "comm/inprocess/inprocess.h"
#include "comm/inprocess/single.h"
#include "gtest/gtest.h"
#include "tests/jobs/small_train_job.h"
#include "trainer/batch_tensors.h"

namespace ds {
namespace {

TrainConfig Config() {
  TrainConfig config = SmallTrainConfig(/*epochs=*/5, /*size=*/960);
  config.optimizer.learning_rate = 0.05;
  config.gating = {.mode = "channels", .controller = {.share = 0.4}, .ramp_epochs = 3};
  return config;
}

TEST(GatedTraining, TheShareIsReachedAndTheNetworkLearns) {
  for (const double share : {0.2, 0.5}) {
    TrainConfig config = Config();
    config.gating.controller.share = share;
    const RunSummary summary = TrainJobOnRanks(config, 1).summaries[0];
    EXPECT_NEAR(summary.zero_gate_share, share, 0.03);
    EXPECT_GT(summary.best_epoch, 3) << "gates are still being closed until then";
    EXPECT_GT(summary.test_accuracy, 0.9);
    EXPECT_LT(summary.macs_needed, (1 - share / 4) * summary.macs);
    EXPECT_GT(summary.macs_needed, (1 - share) * (1 - share) * summary.macs);
    EXPECT_LE(summary.always_shut_share, summary.zero_gate_share);
    EXPECT_GE(1 - summary.never_shut_share, summary.zero_gate_share);
  }
}

TEST(GatedTraining, ReplicasAreIdenticalAndRunsRepeat) {
  TrainConfig config = Config();
  config.data.set.size = 192;
  config.trainer.accumulate = 2;
  const JobResult result = TrainJobOnRanks(config, 3);
  EXPECT_EQ(result.hashes[0].size(), 10u);  // 192 images, 3 ranks of 2 x 16
  EXPECT_EQ(result.hashes[1], result.hashes[0]);
  EXPECT_EQ(result.hashes[2], result.hashes[0]);
  EXPECT_EQ(TrainJobOnRanks(config, 3).hashes, result.hashes);
}

struct Job {
  std::unique_ptr<JobObjects> objects;
  std::unique_ptr<GatedTraining> gating;
};

// What RunTrainJob does after a step.
struct Follower final : public TrainObserver {
  absl::Status OnStep(const StepReport& step) override {
    return job->gating->OnStep(step, *communicator);
  }
  absl::Status OnEpoch(const EpochReport&) override { return absl::OkStatus(); }
  Job* job = nullptr;
  Communicator* communicator = nullptr;
};

// Parameters after one epoch, and the penalty's weight; of rank 0.
std::pair<std::vector<NamedTensor>, double> AfterAnEpoch(const TrainConfig& config, int ranks) {
  at::set_num_threads(1);
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(ranks);
  std::vector<Job> jobs(group.size());
  std::vector<std::thread> threads;
  for (size_t r = 0; r < group.size(); ++r) {
    threads.emplace_back([&, r] {
      group[r]->set_timeout(absl::Seconds(60));
      Follower follower;
      follower.job = &jobs[r];
      follower.communicator = group[r].get();
      TrainConfig mine = config;
      auto objects = SetUpJob(mine, {.observer = &follower}, *group[r]);
      ASSERT_TRUE(objects.ok()) << objects.status();
      jobs[r].objects = *std::move(objects);
      auto gating =
          GatedTraining::Create(mine, {.observer = &follower}, *group[r], *jobs[r].objects);
      ASSERT_TRUE(gating.ok()) << gating.status();
      jobs[r].gating = *std::move(gating);
      const auto trained = jobs[r].objects->trainer->train(*jobs[r].objects->train_loader, 1);
      EXPECT_TRUE(trained.ok()) << trained.status();
      jobs[r].objects->trainer.reset();  // before its communicator goes
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<NamedTensor> parameters;
  for (const NamedTensor& entry : jobs[0].objects->module->parameters()) {
    parameters.push_back(entry);
    parameters.back().tensor = entry.tensor.detach().clone();
  }
  return {std::move(parameters), jobs[0].gating->weight()};
}

// Without BatchNorm ranks on halves of each batch do what one does on the whole, penalty and count
// included: other additions only. As in mixed_precision_trainer_test.
TEST(GatedTraining, TwoRanksEqualOne) {
  TrainConfig config = Config();
  config.model.name = "lenet";
  config.data.set.height = config.data.set.width = 28;
  config.data.set.size = 320;
  config.optimizer.learning_rate = 0.01;
  config.gating.ramp_epochs = 1;
  config.gating.controller.first_strength = 20;
  config.gating.gates.bias = 0.2;
  config.data.loader.batch_size = 32;
  const auto [one, weight] = AfterAnEpoch(config, 1);
  config.data.loader.batch_size = 16;
  const auto [two, same_weight] = AfterAnEpoch(config, 2);
  EXPECT_GT(std::abs(weight), 1);
  EXPECT_NEAR(weight, same_weight, 1e-9 * std::abs(weight));
  for (size_t i = 0; i < one.size(); ++i) {
    const double scale = one[i].tensor.abs().max().item<double>();
    EXPECT_LE((one[i].tensor - two[i].tensor).abs().max().item<double>(), std::ldexp(scale, -17))
        << one[i].name;
  }
}

// A job of one rank with gates, before its first step, with this weight of the penalty.
Job Start(TrainConfig config, double weight, Communicator& communicator) {
  Job job;
  auto objects = SetUpJob(config, {}, communicator);
  EXPECT_TRUE(objects.ok()) << objects.status();
  job.objects = *std::move(objects);
  auto gating = GatedTraining::Create(config, {}, communicator, *job.objects);
  EXPECT_TRUE(gating.ok()) << gating.status();
  job.gating = *std::move(gating);
  const TensorMap state = {{"controller", Tensor::From<double>({2}, {1, weight})}};
  EXPECT_TRUE(job.gating->Restore(state).ok());
  return job;
}

Batch FirstBatch(Job& job) {
  EXPECT_TRUE(job.objects->train_loader->StartEpoch(0).ok());
  auto batch = job.objects->train_loader->Next();
  EXPECT_TRUE(batch.ok() && batch->has_value());
  return **std::move(batch);
}

at::Tensor Parameter(const Job& job, const std::string& name) {
  for (const NamedTensor& parameter : job.objects->module->parameters()) {
    if (parameter.name == name) return parameter.tensor;
  }
  ADD_FAILURE() << "no parameter " << name;
  return {};
}

// What two ranks do with their first batches: `work(rank, communicator, job, batch)`.
template <typename Work>
void OnTwoRanks(const TrainConfig& config, const Work& work) {
  at::set_num_threads(1);
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(2);
  std::vector<std::thread> threads;
  for (size_t r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      group[r]->set_timeout(absl::Seconds(60));
      Job job = Start(config, 0, *group[r]);
      const Batch batch = FirstBatch(job);
      work(r, *group[r], job, batch);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// The share of all ranks' gates that are 0 is wanted, and neither rank's own: there is nothing to
// steer, if they count together.
TEST(GatedTraining, RanksCountTogether) {
  TrainConfig config = Config();
  config.gating.gates.weight_scale = 4;
  config.gating.gates.bias = 0.05;
  config.gating.ramp_epochs = 0;
  GateCount counts[2];
  OnTwoRanks(config, [&](size_t r, Communicator&, Job& job, const Batch& batch) {
    const GateWatch watch(*job.objects->module, FindChannelGates(job.objects->module->graph()));
    job.objects->module->set_training(true);
    ASSERT_TRUE(
        job.objects->module->Forward(*InputsToTorch(batch, job.objects->module->graph())).ok());
    counts[r] = watch.LastCount();
  });
  ASSERT_NE(counts[0].zeros, counts[1].zeros);
  config.gating.controller.share =
      (counts[0].zeros + counts[1].zeros) / (counts[0].gates + counts[1].gates);
  OnTwoRanks(config, [&](size_t r, Communicator& communicator, Job& job, const Batch& batch) {
    const auto step = job.objects->trainer->Step({batch}, 2 * batch.size());
    ASSERT_TRUE(step.ok()) << step.status();
    ASSERT_TRUE(job.gating->OnStep(*step, communicator).ok());
    EXPECT_EQ(job.gating->weight(), 0) << "rank " << r;
  });
}

// One step of plain SGD at rate 1 moves a parameter by its gradient: steps with and without the
// penalty are apart by the penalty's, which a watch on a third, equal model gives.
TEST(GatedTraining, TheStepHasTheGradientOfThePenalty) {
  constexpr double kWeight = 0.5;
  const std::string name = "layer2.0.conv1.gate.bias";
  const auto communicator = CreateSingleCommunicator();
  TrainConfig config = Config();
  config.optimizer = {.learning_rate = 1, .momentum = 0, .nesterov = false, .weight_decay = 0};
  config.schedule.name = "constant";
  const auto after_a_step = [&](double weight) {
    Job job = Start(config, weight, *communicator);
    const Batch batch = FirstBatch(job);
    EXPECT_TRUE(job.objects->trainer->Step({batch}, batch.size()).ok());
    return Parameter(job, name).detach().clone();
  };
  Job job = Start(config, 0, *communicator);
  GraphModule& module = *job.objects->module;
  const GateWatch watch(module, FindChannelGates(module.graph()));
  module.set_training(true);
  ASSERT_TRUE(module.Forward(*InputsToTorch(FirstBatch(job), module.graph())).ok());
  watch.Penalty().backward();
  const at::Tensor expected = Parameter(job, name).grad() * kWeight;
  EXPECT_GT(expected.abs().max().item<double>(), 1e-5);
  const at::Tensor moved = after_a_step(0) - after_a_step(kWeight);
  // Roundings of biases near 1.
  EXPECT_LE((moved - expected).abs().max().item<double>(), 4e-7);
}

TEST(GatedTraining, AStateThatIsNoneIsRefused) {
  const auto communicator = CreateSingleCommunicator();
  TrainConfig config = Config();
  auto objects = SetUpJob(config, {}, *communicator);
  ASSERT_TRUE(objects.ok()) << objects.status();
  auto gating = GatedTraining::Create(config, {}, *communicator, **objects);
  ASSERT_TRUE(gating.ok()) << gating.status();
  EXPECT_EQ((*gating)->Restore({}).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ((*gating)->Restore({{"controller", Tensor::From<double>({1}, {1})}}).code(),
            absl::StatusCode::kDataLoss);
  EXPECT_TRUE((*gating)->Restore((*gating)->State()).ok());
  const TrainConfig without = [] {
    TrainConfig c = Config();
    c.gating.mode = "none";
    return c;
  }();
  auto none = GatedTraining::Create(without, {}, *communicator, **objects);
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(*none, nullptr);
}

}  // namespace
}  // namespace ds
