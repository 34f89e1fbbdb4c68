// Jobs' own parts of what ranks must have in common: gates and learned steps through a step that is
// skipped, one plan of quantisation, and whole runs of many kinds with run.verify_replicas.
#include <cmath>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/core/grad_mode.h"
#include "base/status.h"
#include "comm/inprocess/inprocess.h"
#include "gtest/gtest.h"
#include "jobs/job_setup.h"
#include "jobs/train/gated_training.h"
#include "jobs/train/job_replicas.h"
#include "jobs/train/plan_exchange.h"
#include "jobs/train/quantized_training.h"
#include "tests/jobs/small_train_job.h"

namespace ds {
namespace {

constexpr int64_t kBadStep = 2;

TrainConfig Config() {
  TrainConfig config = SmallTrainConfig(/*epochs=*/2, /*size=*/128);
  config.data.loader.batch_size = 8;
  config.trainer.ema.enabled = true;
  config.trainer.accumulate = 2;
  return config;
}

// Everything of a module and of the averages, as bytes.
std::map<std::string, std::string> Bits(const JobObjects& job) {
  std::map<std::string, std::string> bits;
  const auto add = [&](const std::string& name, const at::Tensor& tensor) {
    bits[name] = {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()};
  };
  for (const NamedTensor& entry : job.module->parameters()) add(entry.name, entry.tensor);
  for (const NamedTensor& entry : job.module->buffers()) add(entry.name, entry.tensor);
  if (job.trainer->ema() != nullptr) {
    for (const auto& [name, tensor] : job.trainer->ema()->State()) add(name, tensor);
  }
  return bits;
}

// `work(rank, communicator, job)` on threads, each with the objects of a run that has not begun.
template <typename Work>
void OnRanks(int world, const TrainConfig& config, const JobSetupOptions& options,
             const Work& work) {
  at::set_num_threads(1);
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(world);
  std::vector<std::thread> threads;
  for (int r = 0; r < world; ++r) {
    threads.emplace_back([&, r] {
      Communicator& communicator = *group[static_cast<size_t>(r)];
      communicator.set_timeout(absl::Seconds(60));
      TrainConfig mine = config;
      auto job = SetUpJob(mine, options, communicator);
      ASSERT_TRUE(job.ok()) << job.status();
      work(r, communicator, **job);
      (*job)->trainer.reset();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// The job's next optimiser step, of two micro-batches; one of rank 1 is full of Inf in the bad one.
absl::StatusOr<StepReport> StepOn(JobObjects& job, int rank, int world) {
  std::vector<Batch> batches;
  int64_t samples = 0;
  if (job.trainer->step() == 0) DS_RETURN_IF_ERROR(job.train_loader->StartEpoch(0));
  for (int i = 0; i < 2; ++i) {
    DS_ASSIGN_OR_RETURN(std::optional<Batch> batch, job.train_loader->Next());
    if (!batch.has_value()) return absl::OutOfRangeError("the epoch is over");
    samples += batch->size() * world;
    batches.push_back(*std::move(batch));
  }
  if (rank == 1 && job.trainer->step() == kBadStep) {
    for (float& pixel : batches[0].inputs[0].values.mutable_span<float>()) pixel = INFINITY;
  }
  return job.trainer->Step(batches, samples);
}

// Two good steps, a bad one, and `extra`'s bytes with the tensors'.
void ExpectTheBadStepChangesNothing(int rank, JobObjects& job,
                                    const std::function<std::string(const StepReport&)>& extra) {
  std::string extra_before;
  for (int64_t i = 0; i < kBadStep; ++i) {
    const auto step = StepOn(job, rank, 2);
    ASSERT_TRUE(step.ok()) << step.status();
    ASSERT_FALSE(step->skipped);
    extra_before = extra(*step);
  }
  const auto before = Bits(job);
  const auto bad = StepOn(job, rank, 2);
  ASSERT_TRUE(bad.ok()) << bad.status();
  ASSERT_TRUE(bad->skipped);
  EXPECT_TRUE(extra(*bad) == extra_before);
  const auto after = Bits(job);
  for (const auto& [name, bits] : before)
    EXPECT_TRUE(after.at(name) == bits) << name << " changed on rank " << rank;
  const auto next = StepOn(job, rank, 2);
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_FALSE(next->skipped);
}

TEST(JobReplicas, ASkippedStepChangesNoLearnedStep) {
  for (const char* precision : {"fp32", "bf16", "fp16"}) {
    TrainConfig config = Config();
    config.quantization.mode = "qat";
    config.quantization.quantizer.samples = 32;
    config.quantization.distillation.weight = 0.5;
    config.trainer.scaler.initial_scale = 1;  // fp16: the good steps are taken
    config.trainer.precision = precision;
    OnRanks(2, config, {}, [&](int rank, Communicator& communicator, JobObjects& job) {
      const auto teacher = GraphModule::Create(job.module->ExportGraph());
      ASSERT_TRUE(teacher.ok()) << teacher.status();
      const auto quantized = StartQuantizedTraining(config, {}, **teacher, communicator, job);
      ASSERT_TRUE(quantized.ok()) << quantized.status();
      // The update before the bad step takes half of the learned steps below the least.
      const auto make_small = [&](const StepReport& step) {
        const at::NoGradGuard no_grad;
        for (const NamedTensor& entry : job.module->parameters()) {
          if (step.step == kBadStep - 2 && entry.op == "LearnedStep")
            at::Tensor(entry.tensor).fill_(QatModule::kLeastStep);
        }
        return "";
      };
      ExpectTheBadStepChangesNothing(rank, job, make_small);
      for (const NamedTensor& entry : job.module->parameters()) {
        if (entry.op == "LearnedStep") {
          EXPECT_GE(entry.tensor.min().item<float>(), QatModule::kLeastStep) << entry.name;
        }
      }
      EXPECT_TRUE(job.trainer->evaluate(*job.test_loader).ok());
      job.trainer.reset();
    });
  }
}

TEST(JobReplicas, ASkippedStepChangesNoGate) {
  for (const char* precision : {"fp32", "bf16", "fp16"}) {
    TrainConfig config = Config();
    config.gating = {.mode = "channels", .controller = {.share = 0.4}, .ramp_epochs = 1};
    config.trainer.precision = precision;
    OnRanks(2, config, {}, [&](int rank, Communicator& communicator, JobObjects& job) {
      const auto gating = GatedTraining::Create(config, {}, communicator, job);
      ASSERT_TRUE(gating.ok()) << gating.status();
      const auto controller = [&](const StepReport& step) {
        EXPECT_TRUE((*gating)->OnStep(step, communicator).ok());
        const TensorMap state = (*gating)->State();
        const Tensor& tensor = state.begin()->second;
        return std::string(reinterpret_cast<const char*>(tensor.data()),
                           static_cast<size_t>(tensor.size_bytes()));
      };
      ExpectTheBadStepChangesNothing(rank, job, controller);
      EXPECT_TRUE(job.trainer->evaluate(*job.test_loader).ok());
    });
  }
}

bool SamePlan(const QuantPlan& a, const QuantPlan& b) {
  return a.activations == b.activations && a.weights == b.weights &&
         a.left_in_float == b.left_in_float;
}

// Ranks that would calibrate to other plans: by other methods, and on other numbers of images.
TEST(JobReplicas, RankZeroDecidesWhatIsQuantisedAndHow) {
  TrainConfig config = Config();
  std::mutex mutex;
  std::vector<QuantPlan> plans;
  OnRanks(3, config, {}, [&](int rank, Communicator& communicator, JobObjects& job) {
    TrainConfig mine = config;
    mine.quantization.mode = "qat";
    mine.quantization.quantizer.options.method = rank == 0 ? "mse" : "min-max";
    mine.quantization.quantizer.samples = 32 * (rank + 1);
    const auto teacher = GraphModule::Create(job.module->ExportGraph());
    ASSERT_TRUE(teacher.ok()) << teacher.status();
    const auto quantized = StartQuantizedTraining(mine, {}, **teacher, communicator, job);
    ASSERT_TRUE(quantized.ok()) << quantized.status();
    {
      std::lock_guard lock(mutex);
      plans.push_back((*quantized)->Plan());
    }
    EXPECT_TRUE(VerifyJobReplicas({}, *quantized, nullptr, nullptr, /*step=*/0, communicator).ok());
    ASSERT_TRUE(StepOn(job, /*rank=*/0, 3).ok());
    const absl::Status status = job.trainer->evaluate(*job.test_loader).status();
    EXPECT_TRUE(status.ok()) << status;
    job.trainer.reset();
  });
  ASSERT_EQ(plans.size(), 3u);
  for (const QuantPlan& plan : plans) EXPECT_TRUE(SamePlan(plan, plans[0]));
}

TEST(JobReplicas, APlanTravelsWhole) {
  const QuantPlan plan = {.activations = {{"a\"b",
                                           {.type = {.bits = 3, .is_signed = false},
                                            .scales = {0.1f},
                                            .zero_points = {5}}}},
                          .weights = {{"w",
                                       {.type = {.bits = 8, .is_signed = true, .narrow = true},
                                        .axis = 1,
                                        .group = 32,
                                        .scales = {1e-38f, 3.4e38f, 1.0f / 3},
                                        .zero_points = {0, 0, 0}}}},
                          .left_in_float = {{"node", "why"}}};
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(2);
  std::vector<std::thread> threads;
  for (size_t r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      const auto got = PlanOfRankZero(r == 0 ? plan : QuantPlan(), *group[r]);
      ASSERT_TRUE(got.ok()) << got.status();
      EXPECT_TRUE(SamePlan(*got, plan));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace ds
