#include "tests/trainer/train_ranks.h"

#include <thread>

#include "ATen/Parallel.h"
#include "comm/inprocess/inprocess.h"
#include "graph/zoo/zoo.h"
#include "gtest/gtest.h"

namespace ds {

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

}  // namespace ds
