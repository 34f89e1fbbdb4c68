#include "trainer/mixed_precision_trainer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status.h"
#include "comm/inprocess/single.h"
#include "comm/while_others_wait.h"
#include "trainer/batch_tensors.h"
#include "trainer/buffer_snapshot.h"
#include "trainer/optim/auto_precision.h"
#include "trainer/sync/buffer_agreement.h"

namespace ds {
namespace {

double MsBetween(int64_t start_us, int64_t end_us) {
  return static_cast<double>(end_us - start_us) / 1000.0;
}

LossScalerOptions ScalerOptions(LossScalerOptions options, Precision precision) {
  options.enabled = precision == Precision::kFloat16;
  return options;
}

absl::Status CheckOptions(const MixedPrecisionTrainerOptions& options) {
  const auto require = [](bool holds, absl::string_view field, double value,
                          absl::string_view range) {
    if (holds && std::isfinite(value)) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("the trainer's ", field, " is ", value, "; it must be ", range));
  };
  DS_RETURN_IF_ERROR(require(options.accumulate >= 1, "accumulate",
                             static_cast<double>(options.accumulate), "1 micro-batch or more"));
  DS_RETURN_IF_ERROR(require(options.max_skipped_in_a_row >= 1, "max_skipped_in_a_row",
                             static_cast<double>(options.max_skipped_in_a_row), "1 step or more"));
  DS_RETURN_IF_ERROR(require(options.clip_norm >= 0, "clip_norm", options.clip_norm,
                             "finite and above 0, or 0 for none"));
  return require(!options.ema.enabled || (options.ema.decay >= 0 && options.ema.decay < 1),
                 "ema.decay", options.ema.decay, "in [0, 1)");
}

// Samples of all ranks in batch `index` of an epoch.
int64_t GlobalBatchSize(const DataLoader& loader, int64_t index) {
  const LoaderOptions& options = loader.options();
  const int64_t full = options.batch_size * options.world_size;
  if (options.drop_last) return full;
  return std::min(full, loader.info().size - index * full);
}

}  // namespace

StepTimings& StepTimings::operator+=(const StepTimings& other) {
  data += other.data;
  forward += other.forward;
  backward += other.backward;
  exchange += other.exchange;
  exchange_exposed += other.exchange_exposed;
  optimizer += other.optimizer;
  return *this;
}

struct MixedPrecisionTrainer::Sums {
  double loss = 0;  // times its weight
  double weight = 0;
  int64_t correct = 0;
  int64_t counted = 0;
  int64_t samples = 0;
  MetricSums metrics;
};

MixedPrecisionTrainer::MixedPrecisionTrainer(GraphModule& model, Optimizer& optimizer, Loss loss,
                                             MixedPrecisionTrainerOptions options,
                                             TrainerParts parts)
    : model_(model),
      optimizer_(optimizer),
      loss_(std::move(loss)),
      options_(std::move(options)),
      parts_(std::move(parts)),
      communicator_(parts_.communicator) {
  if (communicator_ == nullptr) {
    alone_ = CreateSingleCommunicator();
    communicator_ = alone_.get();
  }
  // From the start, so that a resumed run can load the averages before the first step.
  if (options_.ema.enabled) ema_ = std::make_unique<WeightEma>(model_, options_.ema.decay);
}

MixedPrecisionTrainer::~MixedPrecisionTrainer() = default;

Precision MixedPrecisionTrainer::precision() const { return model_.precision(); }

absl::Status MixedPrecisionTrainer::BroadcastModel() {
  DS_RETURN_IF_ERROR(BroadcastTensors(model_.parameters(), *communicator_));
  DS_RETURN_IF_ERROR(BroadcastTensors(model_.buffers(), *communicator_));
  // Before any forward pass, which not every rank may run.
  model_.PutInRange();
  if (ema_ == nullptr) return absl::OkStatus();
  DS_RETURN_IF_ERROR(BroadcastTensors(ema_->parameters(), *communicator_));
  return BroadcastTensors(ema_->buffers(), *communicator_);
}

absl::Status MixedPrecisionTrainer::Prepare(const Batch& sample) {
  if (prepared_) return absl::OkStatus();
  DS_RETURN_IF_ERROR(CheckOptions(options_));
  DS_RETURN_IF_ERROR(BroadcastModel());
  // Rank 0 decides: the probe is a measurement, and measurements differ between ranks.
  int32_t chosen = 0;
  DS_RETURN_IF_ERROR(
      WhileOthersWait(*communicator_, /*worker=*/0, "choose a precision", [&]() -> absl::Status {
        DS_ASSIGN_OR_RETURN(const std::vector<at::Tensor> inputs,
                            InputsToTorch(sample, model_.graph()));
        DS_ASSIGN_OR_RETURN(const at::Tensor targets, TargetsToTorch(sample));
        DS_ASSIGN_OR_RETURN(const PrecisionChoice choice,
                            ChoosePrecision(options_.precision, model_, loss_, inputs, targets));
        chosen = static_cast<int32_t>(choice.precision);
        precision_reason_ = choice.reason;
        return absl::OkStatus();
      }));
  DS_RETURN_IF_ERROR(
      communicator_->Broadcast({reinterpret_cast<std::byte*>(&chosen), sizeof(chosen)}, 0));
  model_.set_precision(static_cast<Precision>(chosen));
  const std::map<std::string, double> scaler_state = scaler_.State();
  const bool fresh = step_ == 0;
  DS_ASSIGN_OR_RETURN(scaler_,
                      LossScaler::Create(ScalerOptions(options_.scaler, model_.precision())));
  if (!fresh) DS_RETURN_IF_ERROR(scaler_.LoadState(scaler_state));
  DS_RETURN_IF_ERROR(ConnectRanks());
  // Averages begin with what is trained, though other weights may have been loaded since they were
  // made.
  if (ema_ != nullptr && fresh) ema_ = std::make_unique<WeightEma>(model_, options_.ema.decay);
  step_buffers_ = std::make_unique<BufferSnapshot>(model_);
  if (local_steps_ != nullptr) round_buffers_ = std::make_unique<BufferSnapshot>(model_);
  prepared_ = true;
  return absl::OkStatus();
}

absl::Status MixedPrecisionTrainer::ConnectRanks() {
  const std::optional<SyncState> exchange = std::exchange(pending_exchange_, std::nullopt);
  if (options_.local_steps.every == 1) {
    DS_ASSIGN_OR_RETURN(synchronizer_,
                        GradientSynchronizer::Create(model_, *communicator_, options_.exchange));
    return exchange.has_value() ? synchronizer_->ImportState(*exchange) : absl::OkStatus();
  }
  synchronizer_ = GradientSynchronizer::CreateLocal(model_);
  DS_ASSIGN_OR_RETURN(local_steps_, LocalSteps::Create(model_, *communicator_, options_.local_steps,
                                                       options_.exchange));
  if (!pending_outer_.empty()) DS_RETURN_IF_ERROR(local_steps_->LoadState(pending_outer_));
  pending_outer_.clear();
  return exchange.has_value() ? local_steps_->ImportExchange(*exchange) : absl::OkStatus();
}

MetricSums MixedPrecisionTrainer::NoMetrics() const {
  MetricSums metrics(loss_);
  metrics.LeaveOutScores();
  return metrics;
}

absl::Status MixedPrecisionTrainer::Measure(const at::Tensor& output, const at::Tensor& targets,
                                            Sums& sums) const {
  sums.metrics = NoMetrics();
  if (sums.metrics.CountsHitsOnly()) {
    sums.metrics.AddHits(sums.correct, sums.counted);
    return absl::OkStatus();
  }
  DS_ASSIGN_OR_RETURN(const TargetRows rows, loss_.RowsThatCount(output.detach(), targets));
  return sums.metrics.Add(rows);
}

absl::StatusOr<MixedPrecisionTrainer::Sums> MixedPrecisionTrainer::ForwardBackward(
    const Batch& batch, double share, StepTimings& times) {
  Sums sums;
  // A rank may have run out of samples in the last batch: its gradient counts as zeros.
  if (batch.size() == 0) return sums;
  const int64_t start = SteadyMicros();
  DS_ASSIGN_OR_RETURN(const std::vector<at::Tensor> inputs, InputsToTorch(batch, model_.graph()));
  DS_ASSIGN_OR_RETURN(const at::Tensor targets, TargetsToTorch(batch));
  DS_ASSIGN_OR_RETURN(std::vector<at::Tensor> outputs, model_.Forward(inputs));
  DS_ASSIGN_OR_RETURN(LossResult result, loss_(outputs[0], targets));
  int64_t middle = SteadyMicros();
  try {
    at::Tensor minimised = result.loss;
    if (parts_.objective) {
      DS_ASSIGN_OR_RETURN(minimised, parts_.objective(inputs, outputs[0], result.loss));
      middle = SteadyMicros();
    }
    at::Tensor scaled = minimised;
    const double factor = share * scaler_.scale();
    if (factor != 1.0) scaled = scaled * factor;
    if (parts_.loss_fault) parts_.loss_fault(step_, scaled);
    scaled.backward();
    sums.loss = result.loss.item<double>() * result.weight;
    sums.correct = result.correct.item<int64_t>();
  } catch (const c10::Error& error) {
    return absl::InternalError(
        absl::StrCat("backward pass of step ", step_, ": ", error.what_without_backtrace()));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("backward pass of step ", step_, ": ", error.what()));
  }
  sums.weight = result.weight;
  sums.counted = result.count;
  DS_RETURN_IF_ERROR(Measure(outputs[0], targets, sums));
  const bool of_tokens = loss_.target_kind() == TargetKind::kClass && targets.dim() == 2 &&
                         targets.dtype() == at::kLong;
  sums.samples = of_tokens ? targets.numel() : batch.size();
  const int64_t end = SteadyMicros();
  times.forward += MsBetween(start, middle);
  times.backward += MsBetween(middle, end);
  Trace("forward", start, middle);
  Trace("backward", middle, end);
  return sums;
}

absl::Status MixedPrecisionTrainer::ApplyGradients(StepReport& report, const SyncStats& sync,
                                                   const std::vector<Batch>& micro_batches) {
  report.loss_scale = scaler_.scale();
  scaler_.Update(sync.found_inf);
  if (sync.found_inf) {
    NoteBad(sync);
    step_buffers_->Restore();
    report.skipped = true;
    ++skipped_in_a_row_;
    ++(local_steps_ ? round_skipped_ : skipped_);
    // A rank that gave up alone would leave the others waiting.
    return local_steps_ ? absl::OkStatus() : CheckConverging(report.learning_rate, micro_batches);
  }
  skipped_in_a_row_ = 0;
  if (local_steps_ == nullptr) first_bad_ = {};
  if (options_.clip_norm > 0) {
    const double norm = ClipGradNorm(model_.parameters(), options_.clip_norm);
    if (norm > options_.clip_norm && std::isfinite(norm))
      report.clip_factor = options_.clip_norm / norm;
  }
  DS_RETURN_IF_ERROR(optimizer_.Step());
  model_.PutInRange();
  if (ema_ != nullptr && local_steps_ == nullptr) ema_->Update();
  return absl::OkStatus();
}

absl::StatusOr<StepReport> MixedPrecisionTrainer::Step(const std::vector<Batch>& micro_batches,
                                                       int64_t global_samples, bool end_of_epoch) {
  if (micro_batches.empty()) return absl::InvalidArgumentError("a step needs at least one batch");
  if (global_samples < 1)
    return absl::InvalidArgumentError("a step's batches have at least one sample over all ranks");
  DS_RETURN_IF_ERROR(Prepare(micro_batches.front()));
  StepReport report;
  report.metrics = NoMetrics();
  report.epoch = epoch_;
  report.step = step_;
  if (parts_.schedule != nullptr) {
    optimizer_.set_learning_rate(parts_.schedule->LearningRate(step_));
  }
  report.learning_rate = optimizer_.learning_rate();
  // Before anything of the step has happened: an error here leaves it untaken on all ranks.
  DS_ASSIGN_OR_RETURN(const std::vector<double> shares, ShareOfMean(micro_batches, global_samples));
  step_buffers_->Take();
  buffers_agree_ = false;
  if (local_steps_ != nullptr && round_steps_ == 0) {
    round_buffers_->Take();
    local_steps_->BeginRound();
  }
  // Alone, autograd may hand over its own tensors; among ranks the gradients live in buckets.
  optimizer_.ZeroGrad(/*drop=*/communicator_->size() == 1 || local_steps_ != nullptr);
  const SyncStep round = {.step = step_, .loss_scale = scaler_.scale()};
  const absl::Status computed = Accumulate(micro_batches, shares, round, report);
  // A rank that failed takes part in the exchange all the same: the others skip the step, and do
  // not wait for it.
  absl::StatusOr<SyncStats> sync =
      computed.ok() ? synchronizer_->Finish() : synchronizer_->Abandon(round);
  absl::Status applied = sync.status();
  if (sync.ok()) applied = EndStep(report, *sync, micro_batches, end_of_epoch);
  DS_RETURN_IF_ERROR(computed);
  DS_RETURN_IF_ERROR(applied);
  return report;
}

void MixedPrecisionTrainer::SetDropoutKey(size_t micro_batch) {
  model_.set_dropout_key(options_.seed,
                         static_cast<uint64_t>(step_ * options_.accumulate) + micro_batch,
                         static_cast<uint64_t>(communicator_->rank()));
}

// What each micro-batch's loss is multiplied by: the exchange takes the mean over ranks, and a
// rank's share of what counts makes it the mean over what counts.
absl::StatusOr<std::vector<double>> MixedPrecisionTrainer::ShareOfMean(
    const std::vector<Batch>& micro_batches, int64_t global_samples) {
  const double ranks = communicator_->size();
  std::vector<double> shares;
  if (!loss_.weight_varies()) {
    for (const Batch& batch : micro_batches) {
      shares.push_back(static_cast<double>(batch.size()) * ranks /
                       static_cast<double>(global_samples));
    }
    return shares;
  }
  double total = 0;
  for (const Batch& batch : micro_batches) {
    double weight = 0;
    // Data without targets, or with others than the loss takes, fails in the forward pass.
    if (batch.size() > 0 && batch.targets.has_value())
      weight = loss_.Weight(ToTorch(*batch.targets));
    shares.push_back(weight);
    total += weight;
  }
  // Local steps are steps of one rank, by what counts there.
  if (local_steps_ != nullptr) {
    total *= ranks;
  } else {
    DS_RETURN_IF_ERROR(
        communicator_->AllReduce(MutableBuffer::Of(absl::MakeSpan(&total, 1)), ReduceOp::kSum));
  }
  for (double& share : shares) share = total > 0 ? share * ranks / total : 0;
  return shares;
}

absl::Status MixedPrecisionTrainer::Accumulate(const std::vector<Batch>& micro_batches,
                                               const std::vector<double>& shares,
                                               const SyncStep& round, StepReport& report) {
  model_.set_training(true);
  for (size_t i = 0; i < micro_batches.size(); ++i) {
    SetDropoutKey(i);
    if (i + 1 == micro_batches.size()) DS_RETURN_IF_ERROR(synchronizer_->Begin(round));
    DS_ASSIGN_OR_RETURN(const Sums sums,
                        ForwardBackward(micro_batches[i], shares[i], report.times));
    report.loss += sums.loss;
    report.weight += sums.weight;
    report.correct += sums.correct;
    report.counted += sums.counted;
    report.metrics.Add(sums.metrics);
    report.samples += sums.samples;
  }
  if (report.weight > 0) report.loss /= report.weight;
  // A variance that overflows hides behind gradients of 0.
  if (step_buffers_->LostFiniteness()) synchronizer_->Refuse();
  return absl::OkStatus();
}

absl::Status MixedPrecisionTrainer::EndStep(StepReport& report, const SyncStats& sync,
                                            const std::vector<Batch>& micro_batches,
                                            bool end_of_epoch) {
  report.times.exchange = sync.exchange_ms;
  report.times.exchange_exposed = sync.exposed_ms;
  report.wire_bytes = sync.wire_bytes;
  report.watched = sync.watched;
  report.overlapped = sync.overlapped;
  const int64_t start = SteadyMicros();
  DS_RETURN_IF_ERROR(ApplyGradients(report, sync, micro_batches));
  const int64_t end = SteadyMicros();
  report.times.optimizer = MsBetween(start, end);
  Trace("optimizer", start, end);
  if (local_steps_ != nullptr) {
    report.synchronized = ++round_steps_ >= local_steps_->every() || end_of_epoch;
    if (report.synchronized) DS_RETURN_IF_ERROR(EndRound(report, micro_batches));
  }
  ++step_;
  return absl::OkStatus();
}

absl::StatusOr<EpochReport> MixedPrecisionTrainer::RunEpoch(DataLoader& loader, bool last) {
  const int64_t batches = loader.batches_per_epoch();
  EpochReport epoch;
  epoch.epoch = epoch_;
  Sums sums;
  sums.metrics = NoMetrics();
  StepTimings times;
  int64_t wire_bytes = 0;
  DS_RETURN_IF_ERROR(loader.StartEpoch(epoch_));
  const int64_t start = SteadyMicros();
  const int64_t steps_per_epoch = (batches + options_.accumulate - 1) / options_.accumulate;
  for (int64_t done = 0; done < batches;) {
    const int64_t data_start = SteadyMicros();
    std::vector<Batch> micro_batches;
    int64_t global_samples = 0;
    while (done < batches && static_cast<int64_t>(micro_batches.size()) < options_.accumulate) {
      DS_ASSIGN_OR_RETURN(std::optional<Batch> batch, loader.Next());
      if (!batch.has_value()) {
        return absl::InternalError(absl::StrCat("the loader ended after ", done, " of ", batches,
                                                " batches of epoch ", epoch_));
      }
      global_samples += GlobalBatchSize(loader, done);
      micro_batches.push_back(*std::move(batch));
      ++done;
    }
    const double data_ms = MsBetween(data_start, SteadyMicros());
    DS_ASSIGN_OR_RETURN(StepReport report,
                        Step(micro_batches, global_samples, /*end_of_epoch=*/done == batches));
    report.times.data = data_ms;
    report.step_in_epoch = epoch.steps++;
    report.steps_per_epoch = steps_per_epoch;
    sums.loss += report.loss * report.weight;
    sums.weight += report.weight;
    sums.correct += report.correct;
    sums.counted += report.counted;
    sums.metrics.Add(report.metrics);
    sums.samples += report.samples;
    times += report.times;
    wire_bytes += report.wire_bytes;
    if (parts_.observer != nullptr) DS_RETURN_IF_ERROR(parts_.observer->OnStep(report));
    if (last && done == batches)
      DS_RETURN_IF_ERROR(CheckStepsWereTaken(epoch.steps, micro_batches));
  }
  const double seconds = std::max<int64_t>(1, SteadyMicros() - start) * 1e-6;
  double totals[] = {sums.loss, sums.weight, static_cast<double>(sums.correct),
                     static_cast<double>(sums.counted), static_cast<double>(sums.samples)};
  DS_RETURN_IF_ERROR(
      communicator_->AllReduce(MutableBuffer::Of(absl::MakeSpan(totals)), ReduceOp::kSum));
  DS_RETURN_IF_ERROR(sums.metrics.AddRanks(*communicator_));
  epoch.train_metrics = sums.metrics.Values();
  const double steps = static_cast<double>(std::max<int64_t>(1, epoch.steps));
  epoch.train_loss = totals[1] > 0 ? totals[0] / totals[1] : 0;
  epoch.train_accuracy = loss_.target_kind() == TargetKind::kValues
                             ? std::numeric_limits<double>::quiet_NaN()
                             : totals[2] / std::max(1.0, totals[3]);
  epoch.images_per_second = totals[4] / seconds;
  epoch.mean_times = {
      times.data / steps,     times.forward / steps,          times.backward / steps,
      times.exchange / steps, times.exchange_exposed / steps, times.optimizer / steps};
  epoch.skipped_steps = skipped_;
  epoch.wire_bytes_per_step = static_cast<int64_t>(static_cast<double>(wire_bytes) / steps);
  return epoch;
}

absl::StatusOr<TrainResult> MixedPrecisionTrainer::train(DataLoader& loader, int64_t epochs) {
  DS_RETURN_IF_ERROR(CheckOptions(options_));
  TrainResult result;
  while (epoch_ < epochs) {
    DS_ASSIGN_OR_RETURN(result.last, RunEpoch(loader, /*last=*/epoch_ + 1 == epochs));
    DS_RETURN_IF_ERROR(AgreeOnBuffers());
    DS_RETURN_IF_ERROR(CheckStateIsFinite());
    ++epoch_;
    if (parts_.observer != nullptr) DS_RETURN_IF_ERROR(parts_.observer->OnEpoch(result.last));
  }
  result.epochs = epoch_;
  result.steps = step_;
  return result;
}

absl::Status MixedPrecisionTrainer::AgreeOnBuffers() {
  if (buffers_agree_) return absl::OkStatus();
  DS_RETURN_IF_ERROR(AgreeOnTensors(model_.buffers(), *communicator_));
  if (ema_ != nullptr) DS_RETURN_IF_ERROR(AgreeOnTensors(ema_->buffers(), *communicator_));
  buffers_agree_ = true;
  return absl::OkStatus();
}

absl::Status MixedPrecisionTrainer::WithAveragedWeights(const std::function<absl::Status()>& body) {
  if (ema_ == nullptr) return body();
  ema_->Swap();
  model_.PutInRange();
  absl::Status status = body();
  ema_->Swap();
  return status;
}

absl::StatusOr<Evaluation> MixedPrecisionTrainer::evaluate(DataLoader& loader) {
  if (round_steps_ > 0 && communicator_->size() > 1) {
    return absl::FailedPreconditionError(absl::StrCat(
        "after ", round_steps_, " local steps of a round each rank has weights of its ",
        "own: evaluate after an outer step, at an epoch's end, say"));
  }
  if (!prepared_) DS_RETURN_IF_ERROR(BroadcastModel());
  DS_RETURN_IF_ERROR(AgreeOnBuffers());
  if (options_.verify_replicas) DS_RETURN_IF_ERROR(VerifyReplicas());
  EvaluationSums sums;
  DS_RETURN_IF_ERROR(WithAveragedWeights([&]() -> absl::Status {
    DS_ASSIGN_OR_RETURN(sums, SumEvaluation(model_, loss_, loader));
    return absl::OkStatus();
  }));
  DS_RETURN_IF_ERROR(sums.AddRanks(*communicator_));
  if (!std::isfinite(sums.loss)) {
    const bool trained = step_ > 0;
    if (trained && sums.not_finite.has_value()) sums.not_finite->step = step_;
    return DivergenceError(absl::StrCat(trained ? "training has diverged: " : "", kLossIsNotFinite),
                           sums.not_finite, *communicator_);
  }
  return sums.Mean();
}

void MixedPrecisionTrainer::Trace(const char* name, int64_t start_us, int64_t end_us) {
  if (options_.exchange.trace) trace_.push_back({name, "compute", start_us, end_us});
}

std::vector<TraceSpan> MixedPrecisionTrainer::TakeTrace() {
  std::vector<TraceSpan> spans = std::exchange(trace_, {});
  if (synchronizer_ != nullptr) {
    for (TraceSpan& span : synchronizer_->TakeTrace()) spans.push_back(std::move(span));
  }
  if (local_steps_ != nullptr) {
    for (TraceSpan& span : local_steps_->TakeTrace()) spans.push_back(std::move(span));
  }
  return spans;
}

}  // namespace ds
