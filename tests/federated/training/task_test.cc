// What an offer says of a task, and what a site takes from it.
#include "federated/training/task.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

constexpr char kTask[] =
    "model: {name: lenet}\n"
    "data: {path: /of/the/server, batch_size: 32, train_limit: 7, mean: [0.25], stddev: [0.5],\n"
    "       augment: {flip: true}}\n"
    "optimizer: {learning_rate: 0.125}\n"
    "schedule: {name: step, milestones: [5, 8]}\n"
    "federated: {local_epochs: 3}\n";

absl::StatusOr<FederatedTask> Read(const std::string& text, int64_t rounds) {
  TempFolder folder;
  return ReadTask(folder.Write("task.yaml", text), {}, rounds);
}

TEST(Task, IsOfferedWithoutModelAndWhereTheServersDataLie) {
  const auto read = Read(kTask, 10);
  ASSERT_TRUE(read.ok()) << read.status();
  const std::string text = OfferedTask(*read);
  EXPECT_EQ(text.find("/of/the/server"), std::string::npos);
  EXPECT_EQ(text.find("lenet"), std::string::npos);
  const auto offered = ParseTask(text, 10);
  ASSERT_TRUE(offered.ok()) << offered.status();
  EXPECT_EQ(offered->train.data.loader.batch_size, 32);
  EXPECT_EQ(offered->train.data.loader.mean, std::vector<double>{0.25});
  EXPECT_TRUE(offered->train.data.loader.augment.horizontal_flip);
  EXPECT_EQ(offered->train.data.train_limit, 0);
  EXPECT_EQ(offered->train.optimizer.learning_rate, 0.125);
  EXPECT_EQ(offered->train.schedule.milestones, (std::vector<int64_t>{5, 8}));
  EXPECT_EQ(offered->local.epochs, 3);
  EXPECT_EQ(offered->train.model.onnx, "");
  EXPECT_EQ(OfferedTask(*offered), text);
}

TEST(Task, CountsRoundsWhereATrainingRunCountsEpochs) {
  const auto warm = Read("model: {name: lenet}\nschedule: {warmup_epochs: 4}\n", 4);
  EXPECT_TRUE(warm.ok()) << warm.status();
  const auto longer = Read("model: {name: lenet}\nschedule: {warmup_epochs: 4}\n", 3);
  EXPECT_THAT(std::string(longer.status().message()), HasSubstr("task.yaml:2:"));
}

TEST(Task, ASiteSaysWhereItsDataLieAndNothingElse) {
  const auto task = Read(kTask, 10);
  ASSERT_TRUE(task.ok());
  TrainConfig site;
  site.data.set.path = "/of/the/site";
  site.data.test_limit = 9;
  site.data.partition = {.sites = 4, .site = 2};
  site.data.loader.batch_size = 5;
  site.data.loader.mean = {0.75};
  site.data.loader.threads = 3;
  site.run.threads = 2;
  site.optimizer.learning_rate = 9;
  const TrainConfig config = OnSite(*task, site);
  EXPECT_EQ(config.data.set.path, "/of/the/site");
  EXPECT_EQ(config.data.train_limit, 0);
  EXPECT_EQ(config.data.test_limit, 9);
  EXPECT_EQ(config.data.partition.site, 2);
  EXPECT_EQ(config.data.loader.threads, 3);
  EXPECT_EQ(config.run.threads, 2);
  EXPECT_EQ(config.data.loader.batch_size, 32);
  EXPECT_EQ(config.data.loader.mean, std::vector<double>{0.25});
  EXPECT_EQ(config.optimizer.learning_rate, 0.125);
}

TEST(Task, RefusesWhatARoundCannotDoAndSaysWhy) {
  const std::pair<const char*, const char*> cases[] = {
      {"pruning: {mode: channels}", "pruning.mode"},
      {"gating: {mode: channels, ramp_epochs: 1}", "gating.mode"},
      {"ema: {enabled: true}", "ema.enabled"},
      {"compression: {method: sign}", "compression.method"},
      {"sync: {every: 4}", "sync.every"},
      {"schedule: {name: plateau}", "schedule.name"},
      {"quantization: {mode: qat, bits: 4, activation_bits: 4, stage_bits: [8], stage_epochs: [2]}",
       "quantization.stage_bits"},
      {"quantization: {mode: qat, distillation: 0.5}", "quantization.distillation"},
  };
  for (const auto& [section, field] : cases) {
    const auto task = Read(std::string("model: {name: lenet}\n") + section + "\n", 10);
    ASSERT_FALSE(task.ok()) << section;
    EXPECT_THAT(std::string(task.status().message()), HasSubstr(field)) << section;
    EXPECT_THAT(std::string(task.status().message()), HasSubstr("not for federated training"))
        << section;
  }
}

}  // namespace
}  // namespace ds::federated
