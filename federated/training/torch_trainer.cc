#include "federated/training/torch_trainer.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>

#include "ATen/Context.h"
#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/status.h"
#include "executor/memory.h"
#include "federated/training/drift_control.h"
#include "federated/training/model_vector.h"
#include "federated/training/task.h"
#include "federated/training/task_model.h"
#include "jobs/calibration_samples.h"
#include "jobs/compute_threads.h"
#include "jobs/data/data_setup.h"
#include "trainer/evaluate.h"
#include "trainer/mixed_precision_trainer.h"
#include "trainer/optim/auto_precision.h"

namespace ds::federated {
namespace {

// What a round's training tells beside the weights.
struct RoundResult {
  double loss = 0;      // mean over samples
  double distance = 0;  // StepDistance's
};

// Another seed for each site, and for what else it is used for.
uint64_t SeedOf(uint64_t seed, const std::string& site, uint64_t round) {
  CounterRandom random(seed, StreamOf(site.data(), site.size()), static_cast<uint32_t>(round));
  const uint64_t high = random.NextUint32();
  return high << 32 | random.NextUint32();
}

class TorchTrainer final : public LocalTrainer {
 public:
  explicit TorchTrainer(TorchTrainerOptions options) : options_(std::move(options)) {}

  absl::StatusOr<LocalModel> Open(const RunOffer& offer, const std::string& model_file) override {
    run_ = offer.options;
    DS_ASSIGN_OR_RETURN(task_, ParseTask(offer.task, run_.round.rounds));
    DS_RETURN_IF_ERROR(CheckStrategy());
    config_ = OnSite(task_, options_.config);
    DS_RETURN_IF_ERROR(OpenData());
    DS_ASSIGN_OR_RETURN(model_, TaskModel::Create(task_, model_file, &train_->info()));
    DS_ASSIGN_OR_RETURN(loss_, Loss::ForModel(task_.train.loss, model_->graph()));
    ScheduleOptions schedule = task_.train.schedule;
    schedule.peak = task_.train.optimizer.learning_rate;
    schedule.steps_per_epoch = 1;
    // Schedules end at their last step, cosine at 0: that would be a round without learning.
    schedule.total_steps = run_.round.rounds + 1;
    DS_ASSIGN_OR_RETURN(schedule_, Schedule::Create(schedule));
    return LocalModel{.layout = model_->layout(),
                      .weights = model_->first_weights(),
                      .samples = train_->info().size};
  }

  absl::StatusOr<TrainedUpdate> Train(int64_t round, absl::Span<const float> weights,
                                      absl::Span<const float> control,
                                      absl::Span<const float> own_control) override {
    if (model_ == nullptr) return absl::FailedPreconditionError("Train before Open");
    interrupted_ = false;
    DS_RETURN_IF_ERROR(CheckSizes(weights, control, own_control));
    UseThreads(config_.run.threads);
    const QuantizationConfig& quantization = task_.train.quantization;
    const bool rounding =
        model_->quantized() && round >= quantization.start_epoch && model_->Calibrated(weights);
    DS_ASSIGN_OR_RETURN(GraphModule * module, model_->Load(weights, rounding));
    TrainedUpdate update;
    update.metrics.samples = train_->info().size;
    DS_RETURN_IF_ERROR(Evaluate(*module, update.metrics));
    module->set_norms_frozen(rounding && round >= run_.round.rounds - quantization.freeze_epochs);
    // Rounds that were abandoned have numbers too, and fedbuff's are the site's own count.
    const double rate = schedule_->LearningRate(std::min(round, run_.round.rounds - 1));
    DS_ASSIGN_OR_RETURN(const RoundResult result,
                        RunSteps(*module, round, rate, control, own_control));
    module->set_norms_frozen(false);
    update.metrics.train_loss = result.loss;
    update.delta.assign(weights.begin(), weights.end());
    const absl::Span<float> trained(update.delta.data(), weights.size());
    model_->Store(trained);
    if (model_->quantized() && !rounding) DS_RETURN_IF_ERROR(Calibrate(trained));
    DS_RETURN_IF_ERROR(CheckFinite(trained, model_->layout(), absl::StrCat("round ", round)));
    for (size_t i = 0; i < weights.size(); ++i) trained[i] -= weights[i];
    if (control.empty()) return update;
    update.delta.resize(2 * weights.size());
    ControlChange(model_->layout(), absl::MakeSpan(update.delta).first(weights.size()), control,
                  result.distance, absl::MakeSpan(update.delta).subspan(weights.size()));
    return update;
  }

  void Interrupt() override { interrupted_ = true; }

 private:
  absl::Status CheckStrategy() const {
    if (run_.strategy.name != "scaffold" || task_.train.optimizer.name == "sgd")
      return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "strategy scaffold reads a gradient from how far sgd went, and the task's optimizer.name "
        "is '",
        task_.train.optimizer.name, "'; set it to sgd"));
  }

  absl::Status CheckSizes(absl::Span<const float> weights, absl::Span<const float> control,
                          absl::Span<const float> own_control) const {
    const auto size = static_cast<size_t>(model_->layout().size());
    const bool scaffold = run_.strategy.name == "scaffold";
    const size_t wanted = scaffold ? size : 0;
    if (weights.size() == size && control.size() == wanted && own_control.size() == wanted)
      return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "a round of ", weights.size(), " weights, ", control.size(), " and ", own_control.size(),
        " control variates for a model of ", size, " and strategy ", run_.strategy.name));
  }

  absl::Status OpenData() {
    TrainConfig& config = config_;
    DS_ASSIGN_OR_RETURN(train_, OpenSplit(config, "train"));
    const absl::StatusOr<std::shared_ptr<const Dataset>> test = OpenSplit(config, "test");
    if (!test.ok() && !absl::IsNotFound(test.status())) return test.status();
    const LoaderOptions& loader = config.data.loader;
    const size_t channels = static_cast<size_t>(train_->info().channels);
    const DatasetInfo& info = train_->info();
    if ((info.kind == SampleKind::kImage || !info.channel_names.empty()) &&
        (loader.mean.size() != channels || loader.stddev.size() != channels)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the task's data.mean has ", loader.mean.size(), " and data.stddev ",
                       loader.stddev.size(), " values, this site's data has ", channels,
                       " channels; all sites must normalise alike, so the task says both"));
    }
    // Sites with less than a batch train on what they have.
    config.data.loader.drop_last = loader.drop_last && train_->info().size >= loader.batch_size;
    // Shuffling and augmentation, which are the site's own.
    config.run.seed = SeedOf(run_.seed, options_.site, 0);
    DS_ASSIGN_OR_RETURN(loader_, MakeLoader(config, train_, DataUse::kTrain));
    if (test.ok()) {
      DS_ASSIGN_OR_RETURN(test_loader_, MakeLoader(config, *test, DataUse::kTest));
    }
    return absl::OkStatus();
  }

  absl::Status Evaluate(GraphModule& module, SiteMetrics& metrics) {
    if (test_loader_ == nullptr) return absl::OkStatus();
    DS_ASSIGN_OR_RETURN(const EvaluationSums sums, SumEvaluation(module, *loss_, *test_loader_));
    DS_ASSIGN_OR_RETURN(const Evaluation mean, sums.Mean());
    metrics.evaluated = mean.samples;
    metrics.correct = static_cast<int64_t>(sums.hits);
    metrics.evaluation_loss = mean.loss;
    return absl::OkStatus();
  }

  absl::Status Calibrate(absl::Span<float> trained) {
    DS_ASSIGN_OR_RETURN(const std::unique_ptr<DataLoader> loader,
                        MakeLoader(config_, train_, DataUse::kCalibrate));
    DS_RETURN_IF_ERROR(loader->StartEpoch(0));
    return model_->Calibrate(
        FirstSamples(*loader, model_->graph(), task_.train.quantization.quantizer.samples),
        trained);
  }

  Objective RoundObjective(const GraphModule& module, absl::Span<const float> control,
                           absl::Span<const float> own_control) const {
    if (run_.strategy.name == "fedprox" && run_.strategy.proximal > 0)
      return ProximalObjective(module, run_.strategy.proximal);
    if (!control.empty())
      return ControlledObjective(module, model_->layout(), control, own_control);
    return nullptr;
  }

  absl::StatusOr<RoundResult> RunSteps(GraphModule& module, int64_t round, double rate,
                                       absl::Span<const float> control,
                                       absl::Span<const float> own_control) {
    at::globalContext().setDeterministicAlgorithms(task_.train.run.deterministic,
                                                   /*warn_only=*/true);
    DS_ASSIGN_OR_RETURN(const std::unique_ptr<Optimizer> optimizer,
                        Optimizer::Create(module.parameters(), task_.train.optimizer));
    optimizer->set_learning_rate(rate);
    MixedPrecisionTrainerOptions options = task_.train.trainer;
    options.seed = SeedOf(run_.seed, options_.site, static_cast<uint64_t>(round) + 1);
    if (!precision_.empty()) options.precision = precision_;
    MixedPrecisionTrainer trainer(module, *optimizer, *loss_, options,
                                  {.objective = RoundObjective(module, control, own_control)});
    const int64_t batches = loader_->batches_per_epoch();
    const int64_t accumulate = options.accumulate;
    const int64_t epoch_steps = (batches + accumulate - 1) / accumulate;
    const int64_t wanted =
        task_.local.steps > 0 ? task_.local.steps : task_.local.epochs * epoch_steps;
    const int64_t epochs = (wanted + epoch_steps - 1) / epoch_steps;
    double loss = 0;
    double weight = 0;
    StepDistance distance(task_.train.optimizer);
    for (int64_t step = 0; step < wanted; ++step) {
      if (interrupted_) return absl::CancelledError(absl::StrCat("round ", round, " was given up"));
      if (step % epoch_steps == 0)
        DS_RETURN_IF_ERROR(loader_->StartEpoch(round * epochs + step / epoch_steps));
      DS_ASSIGN_OR_RETURN(const std::vector<Batch> micro_batches, NextBatches(accumulate));
      int64_t size = 0;
      for (const Batch& batch : micro_batches) size += batch.size();
      DS_ASSIGN_OR_RETURN(const StepReport report, trainer.Step(micro_batches, size));
      if (report.skipped) continue;
      distance.Add(report.learning_rate, report.clip_factor);
      loss += report.loss * report.weight;
      weight += report.weight;
    }
    precision_ = PrecisionName(module.precision());
    RoundResult result;
    result.loss = weight > 0 ? loss / weight : 0;
    result.distance = distance.total();
    if (2 * trainer.skipped_steps() < wanted) return result;
    return absl::InvalidArgumentError(absl::StrCat(
        "round ", round, " has diverged: ", trainer.skipped_steps(), " of ", wanted,
        " steps had gradients that are not finite; lower optimizer.learning_rate or set "
        "optimizer.clip_norm in the task"));
  }

  absl::StatusOr<std::vector<Batch>> NextBatches(int64_t most) {
    std::vector<Batch> batches;
    while (static_cast<int64_t>(batches.size()) < most) {
      DS_ASSIGN_OR_RETURN(std::optional<Batch> batch, loader_->Next());
      if (!batch.has_value()) break;
      batches.push_back(*std::move(batch));
    }
    return batches;
  }

  const TorchTrainerOptions options_;
  RunOptions run_;
  FederatedTask task_;
  TrainConfig config_;
  std::shared_ptr<const Dataset> train_;
  std::unique_ptr<DataLoader> loader_, test_loader_;
  std::unique_ptr<TaskModel> model_;
  std::optional<Loss> loss_;
  std::unique_ptr<Schedule> schedule_;
  std::string precision_;                  // as the first round has chosen it
  std::atomic<bool> interrupted_ = false;  // of the round under way
};

}  // namespace

std::unique_ptr<LocalTrainer> MakeTorchTrainer(TorchTrainerOptions options) {
  KeepFreedMemory();
  return std::make_unique<TorchTrainer>(std::move(options));
}

}  // namespace ds::federated
