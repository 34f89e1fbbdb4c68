#include "tests/jobs/small_train_job.h"

#include <filesystem>
#include <memory>
#include <thread>

#include "ATen/Parallel.h"
#include "absl/strings/str_cat.h"
#include "comm/inprocess/inprocess.h"
#include "graph/onnx/onnx.h"
#include "gtest/gtest.h"
#include "jobs/data/data_setup.h"
#include "jobs/graph_evaluation.h"
#include "jobs/train/train_job.h"
#include "tests/support/temp_folder.h"

namespace ds {

TrainConfig SmallTrainConfig(int64_t epochs, int64_t size) {
  TrainConfig config;
  config.run.threads = 1;
  config.run.epochs = epochs;
  config.trainer.verify_replicas = true;
  config.model.name = "resnet8";
  config.data.set.type = "synthetic";
  config.data.set.channels = 1;
  config.data.set.height = config.data.set.width = 8;
  config.data.set.classes = 4;
  config.data.set.size = size;
  config.data.loader.batch_size = 16;
  config.data.test_batch_size = 32;
  config.trainer.precision = "fp32";
  config.checkpoint.enabled = false;
  config.log.tensorboard = false;
  return config;
}

namespace {

std::optional<double> FileAccuracy(TrainConfig config, const std::string& path) {
  if (!std::filesystem::exists(path)) return std::nullopt;
  const auto graph = ImportOnnx(path);
  EXPECT_TRUE(graph.ok()) << graph.status();
  const auto splits = OpenSplits(config);
  EXPECT_TRUE(splits.ok()) << splits.status();
  const auto accuracy =
      EvaluateGraph(*graph, config.loss, **MakeLoader(config, splits->test, DataUse::kTest));
  EXPECT_TRUE(accuracy.ok()) << accuracy.status();
  return accuracy.ok() ? std::optional(accuracy->metric()) : std::nullopt;
}

}  // namespace

JobResult TrainJobOnRanks(const TrainConfig& config, int ranks) {
  TempFolder folder;
  at::set_num_threads(1);
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(ranks);
  JobResult result{.hashes = std::vector<std::vector<std::string>>(group.size()),
                   .summaries = std::vector<RunSummary>(group.size())};
  std::vector<std::thread> threads;
  for (size_t r = 0; r < group.size(); ++r) {
    threads.emplace_back([&, r] {
      group[r]->set_timeout(absl::Seconds(60));
      TrainConfig mine = config;
      mine.run.output = folder.path();
      TrainJobOptions options;
      options.print = false;
      options.after_step = [&, r](int64_t, const std::string& hash) {
        result.hashes[r].push_back(hash);
        return absl::OkStatus();
      };
      const auto summary = RunTrainJob(mine, options, *group[r]);
      EXPECT_TRUE(summary.ok()) << summary.status();
      if (summary.ok()) result.summaries[r] = *summary;
    });
  }
  for (std::thread& thread : threads) thread.join();
  result.file_accuracy =
      FileAccuracy(config, absl::StrCat(folder.path(), "/", config.run.name, "/model.onnx"));
  return result;
}

}  // namespace ds
