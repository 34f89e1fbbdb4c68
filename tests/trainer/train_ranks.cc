#include "tests/trainer/train_ranks.h"

#include <cmath>
#include <optional>
#include <thread>

#include "ATen/Parallel.h"
#include "base/status.h"
#include "comm/inprocess/inprocess.h"
#include "graph/builder.h"
#include "graph/zoo/zoo.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

absl::StatusOr<Graph> NormsModel(const ModelOptions& options, bool second_head) {
  Builder b("norms", options.seed);
  ValueId x = b.Input("input", DType::kFloat32,
                      {kDynamicDim, options.channels, options.height, options.width});
  x = b.Relu(b.BatchNorm(b.Conv(x, "conv1", {.channels = 4}), "bn1"));
  x = b.Relu(b.BatchNorm(b.Conv(x, "conv2", {.channels = 8, .stride = 2}), "bn2"));
  x = b.Flatten(b.GlobalAveragePool(x));
  b.Output(b.Linear(x, "head", options.classes), "logits");
  if (second_head) b.Output(b.Linear(x, "second", options.classes), "unused");
  return b.Finish();
}

void RegisterSmallModels() {
  static const bool registered = [] {
    for (const bool second_head : {false, true}) {
      const absl::Status status = RegisterModel(
          second_head ? "two_heads" : "norms",
          [=](const ModelOptions& options) { return NormsModel(options, second_head); });
      EXPECT_TRUE(status.ok()) << status;
    }
    return true;
  }();
  EXPECT_TRUE(registered);
}

std::string Bytes(const at::Tensor& tensor) {
  return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()};
}

}  // namespace

ModuleBits BitsOf(const GraphModule& module, WeightEma* averages) {
  ModuleBits bits;
  for (const NamedTensor& entry : module.parameters()) bits[entry.name] = Bytes(entry.tensor);
  for (const NamedTensor& entry : module.buffers()) bits[entry.name] = Bytes(entry.tensor);
  if (averages == nullptr) return bits;
  for (const auto& [name, tensor] : averages->State()) bits[name] = Bytes(tensor);
  return bits;
}

CompressionOptions FourBits() {
  return {.method = "uniform",
          .codec = {.bits = 4, .bucket = 64, .rounding = CodecRounding::kStochastic},
          .minimum_size = 1,
          .seed = 9};
}

DatasetOptions SyntheticData() {
  return {.type = "synthetic",
          .channels = 1,
          .height = 8,
          .width = 8,
          .classes = 4,
          .size = 128,
          .seed = 3};
}

Rank MakeRank(const std::string& model, int64_t batch, int rank, int world,
              MixedPrecisionTrainerOptions options, TrainerParts parts, uint64_t seed) {
  RegisterSmallModels();
  Rank made;
  absl::StatusOr<Graph> graph =
      BuildModel(model, {.channels = 1, .height = 8, .width = 8, .classes = 4, .seed = seed});
  EXPECT_TRUE(graph.ok()) << graph.status();
  made.module = *GraphModule::Create(*std::move(graph));
  made.optimizer = *Optimizer::Create(made.module->parameters(), {.learning_rate = 0.05});
  LoaderOptions loader;
  loader.batch_size = batch;
  loader.rank = rank;
  loader.world_size = world;
  made.loader = *DataLoader::Create(*OpenDataset(SyntheticData()), loader);
  made.trainer = std::make_unique<MixedPrecisionTrainer>(
      *made.module, *made.optimizer, *Loss::Create({}), options, std::move(parts));
  return made;
}

void ExpectNearlyEqual(const GraphModule& a, const GraphModule& b) {
  ASSERT_EQ(a.parameters().size(), b.parameters().size());
  for (size_t i = 0; i < a.parameters().size(); ++i) {
    const at::Tensor of_a = a.parameters()[i].tensor.detach(),
                     of_b = b.parameters()[i].tensor.detach();
    const double scale = of_a.abs().max().item<double>();
    EXPECT_LE((of_a - of_b).abs().max().item<double>(), std::ldexp(scale, -17))
        << a.parameters()[i].name;
  }
}

std::pair<std::vector<Rank>, std::vector<HashRecorder>> TrainRanks(
    int world, const std::string& model, int64_t global_batch, int64_t epochs,
    const AdjustOptions& adjust,
    const std::function<void(int rank, MixedPrecisionTrainer& trainer)>& inspect) {
  at::set_num_threads(1);
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(world);
  std::vector<Rank> ranks(static_cast<size_t>(world));
  std::vector<HashRecorder> recorders(ranks.size());
  std::vector<std::thread> threads;
  for (int r = 0; r < world; ++r) {
    threads.emplace_back([&, r] {
      const size_t i = static_cast<size_t>(r);
      group[i]->set_timeout(absl::Seconds(60));
      RankOptions options;
      options.precision = "fp32";
      options.verify_replicas = true;
      options.parts = {.communicator = group[i].get(), .observer = &recorders[i]};
      adjust(r, options);
      // Other weights on every rank: rank 0's must win.
      ranks[i] = MakeRank(model, global_batch / world, r, world, options, options.parts,
                          static_cast<uint64_t>(r + 1));
      recorders[i].trainer = ranks[i].trainer.get();
      const absl::Status status = ranks[i].trainer->train(*ranks[i].loader, epochs).status();
      EXPECT_TRUE(status.ok()) << "rank " << r << ": " << status;
      if (inspect) inspect(r, *ranks[i].trainer);
    });
  }
  for (std::thread& thread : threads) thread.join();
  // The trainers hold the group's communicators: they go first.
  for (Rank& rank : ranks) rank.trainer.reset();
  return {std::move(ranks), std::move(recorders)};
}

void StepByHand(int world, const std::string& model, const AdjustOptions& adjust,
                const std::function<void(int rank, Rank& objects, const StepFunction& step)>& body,
                const std::function<ChangeBatch(int rank)>& change) {
  at::set_num_threads(1);
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(world);
  std::vector<std::thread> threads;
  for (int r = 0; r < world; ++r) {
    threads.emplace_back([&, r] {
      Communicator& communicator = *group[static_cast<size_t>(r)];
      communicator.set_timeout(absl::Seconds(60));
      RankOptions options;
      options.precision = "fp32";
      options.verify_replicas = true;
      options.parts.communicator = &communicator;
      adjust(r, options);
      Rank objects = MakeRank(model, 8, r, world, options, options.parts);
      const ChangeBatch change_mine = change ? change(r) : nullptr;
      int64_t epoch = 0, steps = 0;
      ASSERT_TRUE(objects.loader->StartEpoch(epoch).ok());
      const auto step = [&]() -> absl::StatusOr<StepReport> {
        std::vector<Batch> batches;
        int64_t samples = 0;
        while (static_cast<int64_t>(batches.size()) < options.accumulate) {
          DS_ASSIGN_OR_RETURN(std::optional<Batch> batch, objects.loader->Next());
          if (!batch.has_value()) {
            DS_RETURN_IF_ERROR(objects.loader->StartEpoch(++epoch));
            DS_ASSIGN_OR_RETURN(batch, objects.loader->Next());
          }
          if (change_mine) change_mine(steps, static_cast<int64_t>(batches.size()), *batch);
          samples += batch->size() * world;
          batches.push_back(*std::move(batch));
        }
        ++steps;
        return objects.trainer->Step(batches, samples);
      };
      body(r, objects, step);
      // It holds the group's communicator.
      objects.trainer.reset();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void OnRanks(int world, const std::string& model, const AdjustOptions& adjust,
             const OptimizerOptions& optimizer,
             const std::function<void(int rank, Rank& objects)>& body) {
  at::set_num_threads(1);
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(world);
  std::vector<std::thread> threads;
  for (int r = 0; r < world; ++r) {
    threads.emplace_back([&, r] {
      RankOptions options;
      options.precision = "fp32";
      options.parts.communicator = group[static_cast<size_t>(r)].get();
      options.parts.communicator->set_timeout(absl::Seconds(60));
      adjust(r, options);
      Rank objects = MakeRank(model, 8, r, world, options, options.parts);
      objects.trainer.reset();
      objects.optimizer = *Optimizer::Create(objects.module->parameters(), optimizer);
      objects.trainer = std::make_unique<MixedPrecisionTrainer>(
          *objects.module, *objects.optimizer, *Loss::Create({}), options, options.parts);
      body(r, objects);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace ds
