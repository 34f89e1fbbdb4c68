// Trains a GraphModule: precision, loss scaling, gradient exchange, clipping, schedule, averages.
// `ds_train` uses nothing else.
//
//   MixedPrecisionTrainer trainer(model, optimizer, loss, {.precision = "auto"});
//   absl::StatusOr<TrainResult> result = trainer.train(loader, /*epochs=*/15);
//
// Order of a step (docs/architecture.md): forward and backward with the scaled loss → finite check
// of the raw gradients → OR of the flag over the ranks → unscale, exchange (compressed or not) →
// clip → optimiser → EMA. A step whose flag is set changes nothing on any rank but the loss scale:
// BatchNorm's statistics, which its forward pass has moved, are put back.
// Those statistics, and the averages of them, are local while an epoch runs and made equal over the
// ranks at its end, and before an evaluation: what is evaluated, exported or written to a
// checkpoint is the same on all ranks, bit for bit.
// With local steps (sync/local_steps.h) each rank does all that alone, skipping included, and the
// exchange is an outer step every so many steps and at each epoch's end: replicas are equal after
// it, and averages of the weights follow it.
//
// One thread; every rank calls the same methods in the same order.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "data/loader.h"
#include "executor/graph_module.h"
#include "trainer/divergence.h"
#include "trainer/evaluate.h"
#include "trainer/metrics.h"
#include "trainer/optim/ema.h"
#include "trainer/optim/loss.h"
#include "trainer/optim/loss_scaler.h"
#include "trainer/optim/optimizer.h"
#include "trainer/optim/schedule.h"
#include "trainer/sync/gradient_synchronizer.h"
#include "trainer/sync/local_steps.h"
#include "trainer/trainer_options.h"

namespace ds {

class BufferSnapshot;

// Milliseconds of one step. `exchange` is the wall time with an exchange under way,
// `exchange_exposed` the part of it that backward did not hide; the step takes data + forward +
// backward + exchange_exposed + optimizer.
struct StepTimings {
  double data = 0, forward = 0, backward = 0, exchange = 0, exchange_exposed = 0, optimizer = 0;
  double total() const { return data + forward + backward + exchange_exposed + optimizer; }
  StepTimings& operator+=(const StepTimings& other);
};

struct StepReport {
  int64_t epoch = 0;  // 0-based
  int64_t step = 0;   // optimiser steps of the run before this one, skipped ones included
  int64_t step_in_epoch = 0;
  int64_t steps_per_epoch = 0;
  double loss = 0;      // this rank's mean over what counts in the step
  double weight = 0;    // of that mean among those of other ranks and steps
  int64_t correct = 0;  // this rank's hits; of numbers 0
  int64_t counted = 0;  // what they are out of
  MetricSums metrics;   // this rank's, the loss' but auc
  int64_t samples = 0;  // this rank's (one class a token: tokens)
  double learning_rate = 0;
  double clip_factor = 1;  // what clipping to clip_norm multiplied the gradients by
  double loss_scale = 1;
  bool skipped = false;  // non-finite gradients somewhere, or a mean of them that is not finite
                         // (local steps: on this rank, or the round was discarded on all)
  bool synchronized =
      true;                // replicas are equal after it (local steps: it ended with an outer step)
  int64_t wire_bytes = 0;  // sent by this rank
  bool watched = false;    // for the forecast: its exchange went after its compute
  bool overlapped = false;  // its exchange could run beside its compute
  StepTimings times;
};

struct EpochReport {
  int64_t epoch = 0;
  double train_loss = 0;                   // over all ranks
  double train_accuracy = 0;               // share of hits, 0..1; NaN where the loss is of numbers
  std::vector<MetricValue> train_metrics;  // the loss' but auc, over all ranks, while it learned
  double images_per_second = 0;            // over all ranks, training part of the epoch
  StepTimings mean_times;                  // a step, this rank
  int64_t steps = 0;
  int64_t skipped_steps =
      0;  // so far in the run; local steps: summed over ranks, as of the last outer step
  int64_t wire_bytes_per_step = 0;  // sent by this rank
};

// What a run tells while it goes. Called on the training thread of every rank, at the same points.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual absl::Status OnStep(const StepReport& step) = 0;
  // BatchNorm's statistics have been averaged. Here a run evaluates, exports and checkpoints.
  virtual absl::Status OnEpoch(const EpochReport& epoch) = 0;
};

// What is minimised, from a micro-batch's inputs, the model's first output and its loss
// (distillation, say).
using Objective = std::function<absl::StatusOr<at::Tensor>(
    const std::vector<at::Tensor>& inputs, const at::Tensor& output, const at::Tensor& loss)>;

// What a trainer works with beside model and optimiser. Nothing is owned.
struct TrainerParts {
  Schedule* schedule = nullptr;          // null: the optimiser's own learning rate
  Communicator* communicator = nullptr;  // null: one rank
  TrainObserver* observer = nullptr;
  Objective objective;  // null: the loss. Reports keep the loss itself
  // Test seam: may change the (scaled) loss of a step on this rank before backward.
  std::function<void(int64_t step, at::Tensor& loss)> loss_fault;
};

struct TrainResult {
  int64_t epochs = 0;
  int64_t steps = 0;
  EpochReport last;
};

class MixedPrecisionTrainer {
 public:
  // References are kept. Bad options come back from the first call that needs them.
  MixedPrecisionTrainer(GraphModule& model, Optimizer& optimizer, Loss loss,
                        MixedPrecisionTrainerOptions options, TrainerParts parts = {});
  ~MixedPrecisionTrainer();

  // Weights, buffers and precision equal on all ranks from here on. Called by train() if nobody
  // did. `sample` is what `auto` probes with.
  absl::Status Prepare(const Batch& sample);
  // Trains from epoch() up to `epochs`. InvalidArgument, on all ranks, when training diverges:
  // parameters are lost, max_skipped_in_a_row is reached, no step of the last epoch was taken, or
  // weights, averages or the optimiser's state are not finite after an epoch. It says what was so
  // first (tensor, rank, step) and what usually helps.
  absl::StatusOr<TrainResult> train(DataLoader& loader, int64_t epochs);
  // One optimiser step on `accumulate` micro-batches (fewer at an epoch's end). `global_samples`:
  // of all ranks and micro-batches, so that a short last batch weighs by its size. `end_of_epoch`:
  // with local steps, an outer step is due whatever their number. An error of this rank's forward
  // or backward pass, of the objective, or of the labels counts as a skipped step, on all ranks:
  // the next one may follow.
  absl::StatusOr<StepReport> Step(const std::vector<Batch>& micro_batches, int64_t global_samples,
                                  bool end_of_epoch = false);
  // Over all ranks' shards, with the averaged weights if there are any; the same weights on all
  // ranks. FailedPrecondition between local steps, when each rank has its own. InvalidArgument, on
  // all ranks, if the loss is not finite: it says which value was so first.
  absl::StatusOr<Evaluation> evaluate(DataLoader& loader);
  // Internal, on every rank, if anything that the ranks must have in common differs between them:
  // parameters, buffers, averages, optimiser (without local steps), scaler and counters, schedule,
  // outer optimiser, how gradients are compressed. Names the first of them, the ranks and the step.
  // At an epoch's end or after evaluate(). Collective.
  absl::Status VerifyReplicas();
  // Runs `body` while the module holds the averaged weights (or as it is, without averages). They
  // are the same on all ranks at an epoch's end and after evaluate().
  absl::Status WithAveragedWeights(const std::function<absl::Status()>& body);

  const Loss& loss() const { return loss_; }
  Precision precision() const;
  const std::string& precision_reason() const { return precision_reason_; }
  // Fixes the precision before Prepare (resume: what `auto` chose then).
  void set_precision(const std::string& precision) { options_.precision = precision; }
  int64_t epoch() const { return epoch_; }
  int64_t step() const { return step_; }
  const LossScaler& scaler() const { return scaler_; }
  int64_t skipped_steps() const { return skipped_; }
  // SHA-256 over all parameters' bits, for comparing ranks and runs.
  std::string ParameterHash() const;
  std::vector<TraceSpan> TakeTrace();

  // All that the next step depends on beside the module's own tensors, the optimiser's and the
  // schedule's.
  std::map<std::string, double> State() const;
  absl::Status LoadState(const std::map<std::string, double>& state);
  WeightEma* ema() { return ema_.get(); }
  // What this rank's exchange carries along (after Prepare); before Prepare, what it is to begin
  // with.
  SyncState exchange_state() const;
  void set_exchange_state(SyncState state) { pending_exchange_ = std::move(state); }
  void set_residuals(CompressorState residuals);  // of what set_exchange_state gave
  CompressionReport compression_report() const;
  // The outer optimiser's state, the same on every rank (after Prepare; empty without local steps);
  // before Prepare, what it is to begin with.
  std::map<std::string, at::Tensor> outer_state() const;
  void set_outer_state(std::map<std::string, at::Tensor> state) {
    pending_outer_ = std::move(state);
  }

 private:
  struct Sums;
  MetricSums NoMetrics() const;
  absl::Status Measure(const at::Tensor& output, const at::Tensor& targets, Sums& sums) const;
  absl::Status BroadcastModel();
  absl::Status AgreeOnBuffers();
  absl::Status ConnectRanks();
  absl::StatusOr<EpochReport> RunEpoch(DataLoader& loader, bool last);
  absl::StatusOr<std::vector<double>> ShareOfMean(const std::vector<Batch>& micro_batches,
                                                  int64_t global_samples);
  absl::Status Accumulate(const std::vector<Batch>& micro_batches,
                          const std::vector<double>& shares, const SyncStep& round,
                          StepReport& report);
  absl::Status EndStep(StepReport& report, const SyncStats& sync,
                       const std::vector<Batch>& micro_batches, bool end_of_epoch);
  void SetDropoutKey(size_t micro_batch);
  absl::StatusOr<Sums> ForwardBackward(const Batch& batch, double share, StepTimings& times);
  absl::Status ApplyGradients(StepReport& report, const SyncStats& sync,
                              const std::vector<Batch>& micro_batches);
  // Whether the run is still finite (run_health.cc); collective but for the first three.
  void NoteBad(const SyncStats& sync);
  std::optional<Divergence> FindDivergence(const std::vector<Batch>& micro_batches);
  Divergence DescribeBad() const;
  absl::Status CheckConverging(double learning_rate, const std::vector<Batch>& micro_batches);
  absl::Status CheckRounds(double learning_rate, const std::vector<Batch>& micro_batches);
  absl::Status CheckStateIsFinite();
  // A run must not end well whose last steps were all lost.
  absl::Status CheckStepsWereTaken(int64_t steps, const std::vector<Batch>& micro_batches);
  // Local steps (outer_rounds.cc).
  absl::Status EndRound(StepReport& report, const std::vector<Batch>& micro_batches);
  absl::Status AgreeOnCounters(StepReport& report, bool discarded);
  void Trace(const char* name, int64_t start_us, int64_t end_us);

  GraphModule& model_;
  Optimizer& optimizer_;
  Loss loss_;
  MixedPrecisionTrainerOptions options_;
  const TrainerParts parts_;
  LossScaler scaler_;
  std::unique_ptr<Communicator> alone_;  // when no communicator was given
  Communicator* communicator_;
  std::unique_ptr<GradientSynchronizer> synchronizer_;
  std::unique_ptr<LocalSteps> local_steps_;  // null: gradients are exchanged at every step
  std::optional<SyncState> pending_exchange_;
  std::map<std::string, at::Tensor> pending_outer_;
  std::unique_ptr<WeightEma> ema_;
  // Before the step, and with local steps before the round, under way; null before Prepare.
  std::unique_ptr<BufferSnapshot> step_buffers_, round_buffers_;
  bool buffers_agree_ = true;  // over the ranks
  std::vector<TraceSpan> trace_;
  std::string precision_reason_;
  bool prepared_ = false;
  int64_t epoch_ = 0;
  int64_t step_ = 0;
  int64_t skipped_ = 0;
  int64_t skipped_in_a_row_ = 0;
  int64_t round_steps_ = 0;    // since the last outer step
  int64_t round_skipped_ = 0;  // of them, on this rank
  // The first step of the present row of lost ones that this rank has seen to be lost, and by
  // which tensor.
  struct FirstBad {
    int64_t step = -1;
    std::string what;  // "gradient of 'conv1.weight'"
    bool overflowed = false;
  } first_bad_;
};

}  // namespace ds
