// Pruning in mid-training: what is kept of a run's state, what is refused, and that replicas stay
// equal.
#include "jobs/train/pruned_training.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "comm/inprocess/single.h"
#include "gtest/gtest.h"
#include "tests/jobs/small_train_job.h"

namespace ds {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

TrainConfig Config() {
  TrainConfig config = SmallTrainConfig(/*epochs=*/4, /*size=*/96);
  config.trainer.ema = {.enabled = true, .decay = 0.9};
  config.pruning = {.mode = "channels", .start_epoch = 1, .end_epoch = 2};
  config.pruning.channels = {.options = {.amount = 0.4}, .samples = 64};
  return config;
}

struct Job {
  std::unique_ptr<Communicator> communicator = CreateSingleCommunicator();
  std::unique_ptr<JobObjects> objects;
  std::unique_ptr<PrunedTraining> pruning;
};

// A job of one rank, before its first step.
Job Start(TrainConfig config) {
  Job job;
  auto objects = SetUpJob(config, {}, *job.communicator);
  EXPECT_TRUE(objects.ok()) << objects.status();
  job.objects = *std::move(objects);
  auto pruning = PrunedTraining::Create(config, job.objects->module->graph());
  EXPECT_TRUE(pruning.ok()) << pruning.status();
  job.pruning = *std::move(pruning);
  return job;
}

void TrainTo(Job& job, int64_t epochs) {
  const auto result = job.objects->trainer->train(*job.objects->train_loader, epochs);
  EXPECT_TRUE(result.ok()) << result.status();
}

// All tensors that training goes on from, by kind and parameter ("momentum/conv1.weight").
Tensors StateOf(const Job& job) {
  Tensors state = job.objects->optimizer->State();
  for (const auto& [name, tensor] : job.objects->trainer->ema()->State()) state[name] = tensor;
  for (const auto* list : {&job.objects->module->parameters(), &job.objects->module->buffers()}) {
    for (const NamedTensor& entry : *list)
      state["weight/" + entry.name] = entry.tensor.detach().clone();
  }
  return state;
}

std::vector<float> Values(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kFloat).contiguous().view({-1});
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}

// The elements, in order, of which no index is among those that have gone.
std::vector<float> Left(const at::Tensor& whole, const std::map<int64_t, std::set<int64_t>>& gone) {
  const std::vector<float> values = Values(whole);
  std::vector<float> left;
  for (size_t i = 0; i < values.size(); ++i) {
    int64_t rest = static_cast<int64_t>(i);
    bool stays = true;
    for (int64_t axis = whole.dim() - 1; axis >= 0; --axis) {
      const auto found = gone.find(axis);
      stays &= found == gone.end() || !found->second.contains(rest % whole.size(axis));
      rest /= whole.size(axis);
    }
    if (stays) left.push_back(values[i]);
  }
  return left;
}

TEST(PrunedTraining, MomentaAveragesAndWeightsOfTheChannelsLeftAreKept) {
  Job job = Start(Config());
  TrainTo(job, 1);
  const Tensors before = StateOf(job);
  const int64_t step = job.objects->trainer->step();
  const auto note = job.pruning->Prune({}, *job.communicator, *job.objects);
  ASSERT_TRUE(note.ok()) << note.status();
  const Tensors after = StateOf(job);
  // What went, from the checkpoint's "slices/<axis>/<name>".
  std::map<std::string, std::map<int64_t, std::set<int64_t>>> gone;
  const auto state = job.pruning->State();
  ASSERT_TRUE(state.ok()) << state.status();
  for (const auto& [key, indices] : *state) {
    const auto span = indices.span<int64_t>();
    gone[key.substr(9)][std::stoi(key.substr(7, 1))] = {span.begin(), span.end()};
  }
  ASSERT_FALSE(gone.empty());
  ASSERT_EQ(after.size(), before.size());
  int smaller = 0;
  for (const auto& [key, tensor] : before) {
    const std::vector<float> left = Values(after.at(key));
    EXPECT_EQ(left, Left(tensor, gone[key.substr(key.find('/') + 1)])) << key;
    smaller += static_cast<int64_t>(left.size()) < tensor.numel() ? 1 : 0;
  }
  EXPECT_GT(smaller, 50);
  EXPECT_EQ(job.objects->trainer->step(), step);
  EXPECT_EQ(job.objects->trainer->epoch(), 1);
  // 7/8 of 40 % after the first of two prunings, all of it after the second.
  EXPECT_NEAR(job.pruning->PrunedShare(job.objects->module->graph()), 0.35, 0.02);
  TrainTo(job, 2);
  ASSERT_TRUE(job.pruning->Prune({}, *job.communicator, *job.objects).ok());
  EXPECT_GE(job.pruning->PrunedShare(job.objects->module->graph()), 0.4);
  TrainTo(job, 3);
}

TEST(PrunedTraining, AWholeModelBecomesWhatTheStateSaysAndNoOtherModelDoes) {
  Job job = Start(Config());
  TrainTo(job, 1);
  ASSERT_TRUE(job.pruning->Prune({}, *job.communicator, *job.objects).ok());
  TrainTo(job, 2);
  ASSERT_TRUE(job.pruning->Prune({}, *job.communicator, *job.objects).ok());
  const auto state = job.pruning->State();
  Job resumed = Start(Config());
  const absl::Status restored =
      resumed.pruning->Restore(*state, {}, *resumed.communicator, *resumed.objects);
  ASSERT_TRUE(restored.ok()) << restored;
  const Tensors expected = StateOf(job), made = StateOf(resumed);
  for (const auto& [key, tensor] : expected) EXPECT_EQ(made.at(key).sizes(), tensor.sizes()) << key;
  EXPECT_EQ(*resumed.pruning->State()->begin()->second.span<int64_t>().begin(),
            *state->begin()->second.span<int64_t>().begin());

  TrainConfig other = Config();
  other.model.name = "lenet";
  other.data.set.height = other.data.set.width = 28;
  Job lenet = Start(other);
  EXPECT_EQ(lenet.pruning->Restore(*state, {}, *lenet.communicator, *lenet.objects).code(),
            absl::StatusCode::kInvalidArgument);
  const TensorMap junk = {{"slices/x/conv1.weight", Tensor::From<int64_t>({1}, {0})}};
  EXPECT_EQ(lenet.pruning->Restore(junk, {}, *lenet.communicator, *lenet.objects).code(),
            absl::StatusCode::kDataLoss);
}

// Of each rank: the parameters' hash after every step.
std::vector<std::vector<std::string>> Hashes(const TrainConfig& config, int ranks) {
  JobResult result = TrainJobOnRanks(config, ranks);
  for (const RunSummary& summary : result.summaries) EXPECT_GT(summary.pruned_share, 0.1);
  return std::move(result.hashes);
}

TEST(PrunedTraining, ReplicasAreIdenticalAndRunsRepeat) {
  for (const char* mode : {"l1", "bn", "taylor", "2:4"}) {
    SCOPED_TRACE(mode);
    TrainConfig config = Config();
    if (std::string(mode) == "2:4") {
      config.pruning = {.mode = mode, .start_epoch = 1};
    } else {
      config.pruning.channels.options.importance = mode;
    }
    const auto hashes = Hashes(config, 3);
    EXPECT_EQ(hashes[0].size(), 8u);  // 96 images, 3 ranks of 16
    EXPECT_EQ(hashes[1], hashes[0]);
    EXPECT_EQ(hashes[2], hashes[0]);
    EXPECT_EQ(Hashes(config, 3), hashes);
  }
}

}  // namespace
}  // namespace ds
