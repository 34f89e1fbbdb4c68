// A federated run that takes a second or so: what tests of local training begin with.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "federated/agent/local_trainer.h"
#include "federated/training/server_evaluator.h"
#include "federated/training/task.h"
#include "federated/training/torch_trainer.h"
#include "tests/support/temp_folder.h"

namespace ds::federated {

// ResNet-8 (batch norms) in fp32 on synthetic images of 1 x 8 x 8, 4 classes, plain SGD in batches
// of 16.
FederatedTask SmallTask();

// A run of `sites` sites that share the data evenly, without any aggregator: the mean of the sites'
// updates, in floats.
class SmallRun {
 public:
  SmallRun(const FederatedTask& task, const RunOptions& options, int sites);

  // A round of all sites; false with a failure of the test where one fails.
  bool Round(int64_t round);
  TorchTrainerOptions OptionsOf(int site) const;

  const RunOffer& offer() const { return offer_; }
  const std::string& model_file() const { return model_file_; }
  LocalTrainer& site(int index) { return *sites_[static_cast<size_t>(index)]; }
  ServerEvaluator& evaluator() { return *evaluator_; }
  const std::vector<float>& weights() const { return weights_; }
  const std::vector<SiteMetrics>& metrics() const { return metrics_; }  // of the last round
  double Accuracy(int64_t round);

 private:
  TempFolder folder_;
  FederatedTask task_;
  RunOffer offer_;
  std::string model_file_;
  int count_ = 0;
  std::vector<std::unique_ptr<LocalTrainer>> sites_;
  std::unique_ptr<ServerEvaluator> evaluator_;
  std::vector<float> weights_, control_;
  std::vector<std::vector<float>> own_controls_;
  std::vector<SiteMetrics> metrics_;
};

}  // namespace ds::federated
