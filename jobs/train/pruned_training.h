// What a configuration's pruning section asks of a run: channels that leave between epochs, or the
// 2:4 pattern, made once and kept. docs/pruning.md has the whole way.
//
// Rank 0 decides, from its weights as they are, and tells the others: all prune alike, whatever
// processors they have.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "ATen/ATen.h"
#include "absl/status/statusor.h"
#include "base/tensor/safetensors.h"
#include "comm/communicator.h"
#include "jobs/config/train_config.h"
#include "jobs/job_setup.h"
#include "prune/pruning.h"

namespace ds {

// Section of a checkpoint: what has gone so far, if anything has.
inline constexpr char kPruningSection[] = "pruning";

class PrunedTraining {
 public:
  // Null where `pruning.mode` is none. `whole`: the run's model before anything has gone.
  // InvalidArgument if what is asked for cannot be reached (how much could, and what is fixed why),
  // before a step is trained.
  static absl::StatusOr<std::unique_ptr<PrunedTraining>> Create(const TrainConfig& config,
                                                                const Graph& whole);

  // Channels go, or the pattern is made, after each of these many epochs.
  int64_t first_epoch() const { return config_.pruning.start_epoch; }
  int64_t last_epoch() const {
    return std::max(config_.pruning.start_epoch, config_.pruning.end_epoch);
  }

  // What is due after the trainer's epochs. Channels: the job gets a smaller model, and an
  // optimiser and a trainer of its own, which must be prepared; momenta, averages and local steps'
  // velocity keep what belongs to the channels left, what compressed exchange owed is forgotten.
  // 2:4: weights and averages get their zeros, and the optimiser keeps those of the weights. A line
  // for people. Collective.
  absl::StatusOr<std::string> Prune(const JobSetupOptions& options, Communicator& communicator,
                                    JobObjects& job);

  // What has gone so far, for a checkpoint; empty if nothing has.
  absl::StatusOr<TensorMap> State() const;
  // Does to the job's whole model what `state` says; its weights and the rest of the checkpoint are
  // to be restored afterwards. InvalidArgument or DataLoss if it is of another model. Collective.
  absl::Status Restore(const TensorMap& state, const JobSetupOptions& options,
                       Communicator& communicator, JobObjects& job);

  // Channels: of `pruning.measure`; 2:4: of all numbers in trained tensors.
  double PrunedShare(const Graph& graph) const;

 private:
  explicit PrunedTraining(const TrainConfig& config) : config_(config) {}
  absl::StatusOr<TensorMap> Decide(const JobObjects& job) const;
  absl::StatusOr<TensorMap> ChooseChannels(const JobObjects& job) const;
  absl::Status Apply(const TensorMap& decision, bool keep_state, const JobSetupOptions& options,
                     Communicator& communicator, JobObjects& job);
  absl::Status Shrink(const RemovedSlices& removed, bool keep_state, const JobSetupOptions& options,
                      Communicator& communicator, JobObjects& job) const;

  const TrainConfig config_;
  double measure_at_first_ = 0;
  std::map<std::string, int64_t> channels_at_first_;  // by group
  RemovedSlices removed_;                             // of the whole model
  std::map<std::string, at::Tensor> zeros_;           // by weight, bool
};

}  // namespace ds
