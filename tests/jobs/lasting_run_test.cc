// What a run has saved is on the disk, all of it, and the right run is resumed.
#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/inprocess/inprocess.h"
#include "gtest/gtest.h"
#include "jobs/prune/prune_job.h"
#include "jobs/quantize/quantize_job.h"
#include "jobs/train/train_job.h"
#include "tests/jobs/small_train_job.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/temp_folder.h"

namespace ds {
namespace {

namespace fs = std::filesystem;

TrainConfig Config(const std::string& output, int64_t epochs) {
  TrainConfig config = SmallTrainConfig(epochs, /*size=*/64);
  config.run.name = "t";
  config.run.output = output;
  config.checkpoint = {.enabled = true, .every_epochs = 1, .keep = 1};
  config.trainer.exchange.compression.method = "uniform";
  config.trainer.exchange.compression.minimum_size = 64;
  return config;
}

void RunRanks(const TrainConfig& config, bool resume, int ranks = 2) {
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(ranks);
  std::vector<std::thread> threads;
  for (const std::unique_ptr<Communicator>& rank : group) {
    threads.emplace_back([&] {
      rank->set_timeout(absl::Seconds(60));
      TrainJobOptions options;
      options.print = false;
      options.resume = resume;
      options.command = {"ds_train"};
      const auto summary = RunTrainJob(config, options, *rank);
      EXPECT_TRUE(summary.ok()) << summary.status();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Everything under `root`: path to bytes.
std::map<std::string, std::string> Files(const std::string& root) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.is_regular_file())
      files[fs::relative(entry.path(), root).string()] = ReadText(entry.path().string());
  }
  return files;
}

// Nothing is written but through the seam, and all of it is synced: a power cut takes nothing.
TEST(LastingRun, APowerCutAfterTheEndTakesNothing) {
  const TempFolder folder;
  FaultyFileSystem files(folder.path());
  TrainConfig config = Config(folder.File("new/runs"), /*epochs=*/2);
  config.log.tensorboard = true;
  config.trainer.exchange.trace = true;
  config.quantization.mode = "ptq";
  RunRanks(config, /*resume=*/false);
  const std::string model = folder.File("new/runs/t/model.onnx");
  QuantizeJobOptions quantize{.model = model, .output = folder.File("int8.onnx")};
  quantize.print = false;
  EXPECT_TRUE(RunQuantizeJob(config, quantize).ok());
  PruneJobOptions prune{.model = model, .output = folder.File("pruned.onnx")};
  prune.print = false;
  EXPECT_TRUE(RunPruneJob(config, prune).ok());
  const std::map<std::string, std::string> before = Files(folder.path());
  files.PowerCut(FaultyFileSystem::Survives::kSynced);
  const std::map<std::string, std::string> after = Files(folder.path());
  for (const auto& [path, bytes] : before) {
    EXPECT_TRUE(after.count(path) == 1 && after.at(path) == bytes) << path << " did not last";
  }
  std::set<std::string> kinds;
  for (const auto& [path, bytes] : before) kinds.insert(fs::path(path).filename().string());
  for (const char* name :
       {"config.yaml", "command.txt", "versions.txt", "metrics.csv", "summary.json", "trace.json",
        "model.onnx", "model.safetensors", "residuals-1.safetensors", "manifest.json", "int8.onnx",
        "int8.html", "int8.json", "pruned.onnx", "pruned.json"}) {
    EXPECT_TRUE(kinds.contains(name)) << name;
  }
}

TEST(LastingRun, ResumeGoesOnInTheRunThatWasStartedLast) {
  const TempFolder folder;
  const std::string output = folder.path();
  for (int run = 0; run < 3; ++run) RunRanks(Config(output, 1), /*resume=*/false);
  fs::remove_all(folder.File("t-2"));
  const auto files = Files(folder.File("t"));
  const auto commands = [&](const std::string& run) {
    const std::string text = ReadText(folder.File(run + "/command.txt"));
    return std::count(text.begin(), text.end(), '\n');
  };
  RunRanks(Config(output, 2), /*resume=*/true);
  EXPECT_EQ(commands("t-3"), 2);
  EXPECT_TRUE(Files(folder.File("t")) == files) << "the first run was touched";
  // A run that was itself named t-4 is none of t's; any run can be resumed by its folder's name.
  TrainConfig other = Config(output, 1);
  other.run.name = "t-4";
  RunRanks(other, /*resume=*/false);
  RunRanks(Config(output, 3), /*resume=*/true);
  EXPECT_EQ(commands("t-3"), 3);
  EXPECT_EQ(commands("t-4"), 1);
  TrainConfig by_folder = Config(output, 4);
  by_folder.run.name = "t-3";
  RunRanks(by_folder, /*resume=*/true);
  EXPECT_EQ(commands("t-3"), 4);
}

}  // namespace
}  // namespace ds
