#include "tests/federated/training/small_run.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace ds::federated {

FederatedTask SmallTask() {
  FederatedTask task;
  TrainConfig& train = task.train;
  train.run.threads = 1;
  train.model.name = "resnet8";
  train.data.set.type = "synthetic";
  train.data.set.channels = 1;
  train.data.set.height = train.data.set.width = 8;
  train.data.set.classes = 4;
  train.data.set.size = 320;
  train.data.loader.batch_size = 16;
  train.data.test_batch_size = 64;
  train.optimizer = {.learning_rate = 0.05, .momentum = 0, .nesterov = false, .weight_decay = 0};
  train.schedule.name = "constant";
  train.trainer.precision = "fp32";
  return task;
}

SmallRun::SmallRun(const FederatedTask& task, const RunOptions& options, int sites)
    : task_(task), count_(sites) {
  model_file_ = absl::StrCat(folder_.path(), "/offered.onnx");
  const auto text = WriteOffer(task, model_file_);
  EXPECT_TRUE(text.ok()) << text.status();
  if (!text.ok()) return;
  offer_ = {.run = "run", .name = "small", .options = options, .task = *text};
  auto evaluator = MakeServerEvaluator(offer_, model_file_, task.train);
  EXPECT_TRUE(evaluator.ok()) << evaluator.status();
  if (!evaluator.ok()) return;
  evaluator_ = *std::move(evaluator);
  weights_ = evaluator_->model().weights;
  for (int site = 0; site < sites; ++site) {
    sites_.push_back(MakeTorchTrainer(OptionsOf(site)));
    const auto opened = sites_.back()->Open(offer_, model_file_);
    EXPECT_TRUE(opened.ok()) << opened.status();
    if (!opened.ok()) return;
    EXPECT_EQ(opened->weights, weights_);
  }
  const bool scaffold = options.strategy.name == "scaffold";
  control_.assign(scaffold ? weights_.size() : 0, 0.0f);
  own_controls_.assign(static_cast<size_t>(sites), control_);
}

TorchTrainerOptions SmallRun::OptionsOf(int site) const {
  TorchTrainerOptions options = {.site = absl::StrCat("site-", site), .config = task_.train};
  options.config.data.partition.sites = count_;
  options.config.data.partition.site = site;
  return options;
}

bool SmallRun::Round(int64_t round) {
  std::vector<float> sum(weights_.size(), 0.0f), control_sum(control_.size(), 0.0f);
  metrics_.clear();
  for (size_t s = 0; s < sites_.size(); ++s) {
    const auto update = sites_[s]->Train(round, weights_, control_, own_controls_[s]);
    EXPECT_TRUE(update.ok()) << update.status();
    if (!update.ok()) return false;
    metrics_.push_back(update->metrics);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += update->delta[i];
    for (size_t i = 0; i < control_.size(); ++i) {
      own_controls_[s][i] += update->delta[sum.size() + i];
      control_sum[i] += update->delta[sum.size() + i];
    }
  }
  const auto count = static_cast<float>(sites_.size());
  for (size_t i = 0; i < sum.size(); ++i) weights_[i] += sum[i] / count;
  for (size_t i = 0; i < control_.size(); ++i) control_[i] += control_sum[i] / count;
  return true;
}

double SmallRun::Accuracy(int64_t round) {
  const auto metrics = evaluator_->Evaluate(round, weights_);
  EXPECT_TRUE(metrics.ok()) << metrics.status();
  if (!metrics.ok()) return 0;
  return static_cast<double>(metrics->correct) / static_cast<double>(metrics->evaluated);
}

}  // namespace ds::federated
