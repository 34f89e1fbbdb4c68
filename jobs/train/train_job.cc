#include "jobs/train/train_job.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/status.h"
#include "comm/while_others_wait.h"
#include "deploy/onnx_exporter.h"
#include "jobs/config/train_schema.h"
#include "jobs/job_setup.h"
#include "jobs/train/gated_training.h"
#include "jobs/train/job_replicas.h"
#include "jobs/train/pruned_training.h"
#include "jobs/train/quantized_training.h"
#include "jobs/train/run_description.h"
#include "jobs/train/run_reporter.h"
#include "jobs/train/step_medians.h"
#include "jobs/train/trace_gather.h"
#include "report/summary.h"
#include "torch/version.h"
#include "trainer/optim/auto_precision.h"
#include "trainer/optim/metric_names.h"
#include "trainer/state/rank_state.h"
#include "trainer/state/run_checkpoint.h"
#include "trainer/state/run_state.h"

namespace ds {
namespace {

// A run under way: what happens after each step and epoch.
class TrainJob final : public TrainObserver {
 public:
  TrainJob(const TrainConfig& config, const TrainJobOptions& options, Communicator& communicator)
      : config_(config),
        options_(options),
        communicator_(communicator),
        started_s_(SteadySeconds()) {}

  absl::StatusOr<RunSummary> Run() {
    DS_ASSIGN_OR_RETURN(objects_, SetUpJob(config_, SetupOptions(), communicator_));
    DS_ASSIGN_OR_RETURN(gating_,
                        GatedTraining::Create(config_, SetupOptions(), communicator_, *objects_));
    DS_ASSIGN_OR_RETURN(pruning_, PrunedTraining::Create(config_, objects_->module->graph()));
    const bool rounds_at_once =
        trains_quantized() && config_.quantization.start_epoch == 0 && !options_.resume;
    if (options_.dry_run) {
      if (rounds_at_once) DS_RETURN_IF_ERROR(StartQuantized(/*restored=*/false));
      return DryRun();
    }
    std::optional<RunFolder> folder;
    DS_RETURN_IF_ERROR(OpenFolder(&folder));
    if (options_.resume) DS_RETURN_IF_ERROR(Restore(folder));
    if (rounds_at_once) DS_RETURN_IF_ERROR(StartQuantized(/*restored=*/false));
    DS_RETURN_IF_ERROR(PrepareTrainer());
    DS_RETURN_IF_ERROR(
        WorkAtOwnPace(communicator_, "open the run's records", [&]() -> absl::Status {
          DS_ASSIGN_OR_RETURN(
              reporter_, RunReporter::Create(config_, loss().metrics(), std::move(folder),
                                             communicator_.size(), options_.print && root(),
                                             options_.resume ? objects_->trainer->step() : -1));
          return absl::OkStatus();
        }));
    Introduce();
    if (rounds_at_once) {
      DS_RETURN_IF_ERROR(OnRoot("write the float model", [this] {
        return reporter_->WriteModel(float_model_->ExportGraph());
      }));
    }
    DS_RETURN_IF_ERROR(WithWhatIsLeft(Train()));
    if (config_.trainer.exchange.trace) {
      DS_ASSIGN_OR_RETURN(const std::vector<std::string> parts,
                          GatherTraces(trace_, communicator_));
      DS_RETURN_IF_ERROR(OnRoot("write the trace", [&] { return reporter_->WriteTrace(parts); }));
    }
    RunSummary summary = Summarize();
    DS_RETURN_IF_ERROR(AddGateUse(summary));
    DS_RETURN_IF_ERROR(AddExports(summary));
    DS_RETURN_IF_ERROR(WorkAtOwnPace(communicator_, "write the summary",
                                     [&] { return reporter_->Finish(summary); }));
    return summary;
  }

  absl::Status OnStep(const StepReport& report) override {
    if (options_.after_step) {
      DS_RETURN_IF_ERROR(options_.after_step(report.step, objects_->trainer->ParameterHash()));
    }
    if (config_.trainer.exchange.trace) {
      for (TraceSpan& span : objects_->trainer->TakeTrace()) {
        // A trace is for looking at: the first steps are enough and fit a viewer.
        if (trace_.size() < kMaxTraceSpans) trace_.push_back(std::move(span));
      }
    }
    forecast_.Add(report);
    if (gating_ != nullptr) DS_RETURN_IF_ERROR(gating_->OnStep(report, communicator_));
    return reporter_->Step(report, objects_->trainer->skipped_steps(),
                           objects_->trainer->scaler().enabled());
  }

  absl::Status OnEpoch(const EpochReport& epoch) override {
    reporter_->Pause();
    last_epoch_ = epoch;
    times_ += epoch.mean_times;
    images_per_second_ += epoch.images_per_second;
    ++epochs_here_;
    if (gating_ != nullptr) gating_->StartCounting();
    DS_ASSIGN_OR_RETURN(last_evaluation_, objects_->trainer->evaluate(*objects_->test_loader));
    if (gating_ != nullptr) {
      DS_ASSIGN_OR_RETURN(const std::string gates, gating_->Report(communicator_));
      reporter_->Note(gates);
    }
    objects_->schedule->ReportEpoch(last_evaluation_.loss);
    DS_RETURN_IF_ERROR(reporter_->Epoch(epoch, last_evaluation_, objects_->trainer->step()));
    if (IsBest(last_evaluation_.metric())) DS_RETURN_IF_ERROR(KeepBest(epoch.epoch));
    const int64_t done = epoch.epoch + 1;
    if (gating_ != nullptr && !gating_->Counts(done)) ForgetBest();
    if (config_.trainer.verify_replicas) {
      DS_RETURN_IF_ERROR(VerifyJobReplicas(progress_, quantized_, pruning_.get(), gating_.get(),
                                           objects_->trainer->step(), communicator_));
    }
    EndStage(done);
    FreezeNorms(done);
    if (config_.checkpoint.enabled &&
        (done % config_.checkpoint.every_epochs == 0 || done == config_.run.epochs)) {
      DS_RETURN_IF_ERROR(WriteState());
    }
    reporter_->Resume();
    return absl::OkStatus();
  }

 private:
  static constexpr size_t kMaxTraceSpans = 20000;

  bool root() const { return communicator_.rank() == 0; }
  const Loss& loss() const { return objects_->trainer->loss(); }
  const std::string& metric() const { return loss().metrics().front(); }

  bool IsBest(double value) const {
    if (progress_.best_epoch < 0) return true;
    return HigherIsBetter(metric()) ? value > progress_.best_metric : value < progress_.best_metric;
  }

  // A run that fails says what it leaves behind.
  absl::Status WithWhatIsLeft(const absl::Status& status) const {
    if (status.ok() || !root()) return status;
    std::string left;
    if (progress_.best_epoch >= 0) {
      absl::StrAppend(&left, "; the best model so far, of epoch ", progress_.best_epoch + 1,
                      " with ", MetricText(metric(), progress_.best_metric), ", stays in ",
                      reporter_->folder()->path());
    }
    if (checkpointed_) {
      absl::StrAppend(&left, "; --resume goes on from the last checkpoint in ",
                      reporter_->folder()->checkpoints());
    }
    return absl::Status(status.code(), absl::StrCat(status.message(), left));
  }
  bool local_steps() const { return config_.trainer.local_steps.every > 1; }

  bool trains_quantized() const { return config_.quantization.mode == "qat"; }
  JobSetupOptions SetupOptions() { return {this, options_.loss_fault}; }

  double Seconds() const { return SteadySeconds() - started_s_; }

  // Rank 0 works, the others wait, however long it takes.
  absl::Status OnRoot(absl::string_view what, absl::FunctionRef<absl::Status()> work) {
    return WhileOthersWait(communicator_, /*worker=*/0, what, [&] {
      if (options_.before_lone_work) options_.before_lone_work(what);
      return work();
    });
  }

  // On rank 0 only.
  absl::Status OpenFolder(std::optional<RunFolder>* folder) {
    return OnRoot("open the run's folder", [&]() -> absl::Status {
      DS_ASSIGN_OR_RETURN(
          RunFolder opened,
          options_.resume
              ? RunFolder::Resume(config_.run.output, config_.run.name,
                                  [this](const RunFolder& run) { return IsOfName(run); })
              : RunFolder::Create(config_.run.output, config_.run.name));
      Versions versions = HostVersions();
      versions.emplace_back("LibTorch", TORCH_VERSION);
      DS_RETURN_IF_ERROR(opened.Describe(PrintTrainConfig(config_), options_.command, versions));
      *folder = std::move(opened);
      return absl::OkStatus();
    });
  }

  // Whether a numbered folder holds a run of this configuration's name: "a-2" may be the second
  // run of "a", or one that was named so. Without a readable configuration it is taken for one.
  bool IsOfName(const RunFolder& run) const {
    const absl::StatusOr<TrainConfig> written = ReadTrainConfig(run.config(), {});
    return !written.ok() || written->run.name == config_.run.name;
  }

  // Epochs in float, then those with the rounding, as the configuration says.
  absl::Status Train() {
    if (pruning_ != nullptr) DS_RETURN_IF_ERROR(TrainAndPrune());
    if (trains_quantized() && quantized_ == nullptr) {
      DS_RETURN_IF_ERROR(
          objects_->trainer->train(*objects_->train_loader, config_.quantization.start_epoch)
              .status());
      DS_RETURN_IF_ERROR(StartQuantized(/*restored=*/false));
      DS_RETURN_IF_ERROR(PrepareTrainer());
    }
    FreezeNorms(objects_->trainer->epoch());
    return objects_->trainer->train(*objects_->train_loader, config_.run.epochs).status();
  }

  // Before epoch `epoch`: the last ones with the rounding see the statistics that the exported file
  // will have.
  void FreezeNorms(int64_t epoch) {
    objects_->module->set_norms_frozen(
        quantized_ != nullptr && epoch >= config_.run.epochs - config_.quantization.freeze_epochs);
  }

  // From here on the model is another one.
  void ForgetBest() { progress_.best_epoch = -1; }

  // Up to the last pruning. Results before it are another model's: the best epoch is looked for
  // behind it.
  absl::Status TrainAndPrune() {
    for (int64_t done = std::max(pruning_->first_epoch(), objects_->trainer->epoch());
         done <= pruning_->last_epoch(); ++done) {
      DS_RETURN_IF_ERROR(objects_->trainer->train(*objects_->train_loader, done).status());
      DS_ASSIGN_OR_RETURN(const std::string note,
                          pruning_->Prune(SetupOptions(), communicator_, *objects_));
      ForgetBest();
      DS_RETURN_IF_ERROR(PrepareTrainer());
      reporter_->Note(note);
    }
    return absl::OkStatus();
  }

  // From the job's float model to a fake-quantised one. `restored`: the float model is a
  // checkpoint's, of the run as it was then.
  absl::Status StartQuantized(bool restored) {
    Graph graph = objects_->module->ExportGraph();
    if (!restored) {
      DS_ASSIGN_OR_RETURN(const Evaluation in_float,
                          objects_->trainer->evaluate(*objects_->test_loader));
      DS_RETURN_IF_ERROR(objects_->trainer->WithAveragedWeights([&] {
        graph = objects_->module->ExportGraph();
        return absl::OkStatus();
      }));
      progress_.float_metric = in_float.metric();
      ForgetBest();
    }
    DS_ASSIGN_OR_RETURN(float_model_, GraphModule::Create(std::move(graph)));
    DS_ASSIGN_OR_RETURN(quantized_, StartQuantizedTraining(config_, SetupOptions(), *float_model_,
                                                           communicator_, *objects_));
    const QatBits bits = StageAt(config_.quantization, objects_->trainer->epoch()).bits;
    start_note_ = absl::StrFormat(
        "quantisation-aware training from here on: weights %d bits, activations %d; in float %s",
        bits.weights, bits.activations, MetricText(metric(), progress_.float_metric));
    if (reporter_ != nullptr) reporter_->Note(start_note_);
    return absl::OkStatus();
  }

  // After `done` epochs: fewer bits where the next stage begins. Only the last stage's best epoch
  // is exported.
  void EndStage(int64_t done) {
    if (quantized_ == nullptr || done == config_.run.epochs ||
        StageAt(config_.quantization, done - 1).last)
      return;
    const QatBits before = StageAt(config_.quantization, done - 1).bits,
                  bits = StageAt(config_.quantization, done).bits;
    if (before.weights == bits.weights && before.activations == bits.activations) return;
    quantized_->ChangeBits(bits);
    ForgetBest();
    reporter_->Note(absl::StrFormat("weights %d bits, activations %d from here on", bits.weights,
                                    bits.activations));
  }

  // Measures the gates of the model that was written.
  absl::Status AddGateUse(RunSummary& summary) {
    if (gating_ == nullptr) return absl::OkStatus();
    return OnRoot("measure the model's gates", [&] {
      return gating_->AddUse(objects_->splits, reporter_->folder()->model_onnx(), summary);
    });
  }

  // Writes and measures what `quantization` asks for.
  absl::Status AddExports(RunSummary& summary) {
    const QuantizationConfig& quantization = config_.quantization;
    summary.quantization = quantization.mode;
    if (quantization.mode == "none") return absl::OkStatus();
    summary.float_accuracy = trains_quantized() ? progress_.float_metric : progress_.best_metric;
    return OnRoot("write the quantised files", [&]() -> absl::Status {
      const RunFolder& folder = *reporter_->folder();
      if (!trains_quantized()) {
        DS_ASSIGN_OR_RETURN(summary.exports, ExportCalibrated(config_, objects_->splits,
                                                              folder.model_onnx(), folder.path()));
        return absl::OkStatus();
      }
      DS_ASSIGN_OR_RETURN(summary.exports.emplace_back(),
                          MeasureExport(config_, objects_->splits, folder.path(),
                                        quantization.quantizer.options.bits,
                                        quantization.quantizer.options.activation_bits));
      return absl::OkStatus();
    });
  }

  absl::Status Restore(const std::optional<RunFolder>& folder) {
    DS_ASSIGN_OR_RETURN(
        const int contributor,
        ContributorOf(config_.trainer.exchange.compression.hierarchical, communicator_));
    absl::StatusOr<RunCheckpoint> read =
        ReadRunCheckpoint(root() ? folder->checkpoints() : "", contributor,
                          /*own_optimizer=*/local_steps(), communicator_);
    if (!read.ok()) {
      return Annotate(read.status(),
                      "--resume (an earlier run's folder can be named: run.name=NAME-2)");
    }
    Checkpoint* const checkpoint = &read->shared;
    if (!read->mine.optimizer.empty())
      checkpoint->tensors["optimizer"] = std::move(read->mine.optimizer);
    if (pruning_ != nullptr && checkpoint->tensors.contains(kPruningSection)) {
      DS_RETURN_IF_ERROR(pruning_->Restore(checkpoint->tensors.at(kPruningSection), SetupOptions(),
                                           communicator_, *objects_));
    }
    if (gating_ != nullptr) {
      if (!checkpoint->tensors.contains(kGatingSection))
        return absl::NotFoundError("the checkpoint is of a run without gates");
      DS_RETURN_IF_ERROR(gating_->Restore(checkpoint->tensors.at(kGatingSection)));
    }
    if (HasFloatModel(*checkpoint)) {
      DS_RETURN_IF_ERROR(RestoreModule(*checkpoint, kFloatSection, *objects_->module));
      DS_RETURN_IF_ERROR(StartQuantized(/*restored=*/true));
    }
    DS_RETURN_IF_ERROR(RestoreRun(*checkpoint, objects_->state(), &progress_));
    if (quantized_ != nullptr)
      quantized_->set_bits(StageAt(config_.quantization, objects_->trainer->epoch()).bits);
    objects_->trainer->set_precision(progress_.precision);
    // What changes of weights are still owed is no gradient, nor the other way round.
    if (HasLocalSteps(*checkpoint) == local_steps())
      objects_->trainer->set_residuals(std::move(read->mine.residuals));
    return absl::OkStatus();
  }

  // What `auto` chooses must be known before the first checkpoint names it.
  absl::Status PrepareTrainer() {
    DS_RETURN_IF_ERROR(objects_->train_loader->StartEpoch(0));
    DS_ASSIGN_OR_RETURN(const std::optional<Batch> sample, objects_->train_loader->Next());
    if (!sample.has_value()) return absl::InvalidArgumentError("the training set is empty");
    DS_RETURN_IF_ERROR(objects_->trainer->Prepare(*sample));
    progress_.precision = PrecisionName(objects_->trainer->precision());
    return absl::OkStatus();
  }

  void Introduce() {
    reporter_->Note(absl::StrCat(
        config_.model.onnx.empty() ? config_.model.name : config_.model.onnx, ": ",
        objects_->module->graph().ParameterCount(), " parameters, ", communicator_.size(), " rank",
        communicator_.size() == 1 ? "" : "s", ", ", progress_.precision,
        objects_->trainer->precision_reason().empty()
            ? ""
            : absl::StrCat(" (", objects_->trainer->precision_reason(), ")"),
        local_steps() ? absl::StrCat(", ", config_.trainer.local_steps.every, " local steps") : "",
        options_.resume ? absl::StrCat(", resumed after epoch ", objects_->trainer->epoch()) : ""));
    for (const std::string& note : objects_->notes) reporter_->Note(note);
    if (!loss().note().empty()) reporter_->Note(loss().note());
    if (!start_note_.empty()) reporter_->Note(start_note_);
  }

  absl::Status KeepBest(int64_t epoch) {
    // What is not defined (auc of labels that are all alike) is worse than all that is.
    constexpr double kWorst = std::numeric_limits<double>::max();
    progress_.best_metric = last_evaluation_.metric();
    if (std::isnan(progress_.best_metric))
      progress_.best_metric = HigherIsBetter(metric()) ? -1 : kWorst;
    progress_.best_loss = last_evaluation_.loss;
    progress_.best_epoch = epoch;
    if (quantized_ != nullptr && !StageAt(config_.quantization, epoch).last)
      return absl::OkStatus();
    return OnRoot("write the best model", [this] {
      return objects_->trainer->WithAveragedWeights([this] {
        if (quantized_ == nullptr) return reporter_->WriteModel(objects_->module->ExportGraph());
        const QuantizerOptions& quantizer = config_.quantization.quantizer.options;
        const std::string path =
            reporter_->folder()->File(ExportName(quantizer.bits, quantizer.activation_bits));
        return OnnxExporter().Export(quantized_->ExportGraph(), quantized_->Plan(), path).status();
      });
    });
  }

  // What is the same on all ranks. The metrics go on the disk first: a resumed run goes on with the
  // rows that were written before its checkpoint.
  absl::StatusOr<Checkpoint> SharedState() {
    DS_RETURN_IF_ERROR(reporter_->Sync());
    RunProgress progress = progress_;
    progress.wall_seconds += Seconds();
    DS_ASSIGN_OR_RETURN(Checkpoint checkpoint, CaptureRun(objects_->state(), progress));
    if (float_model_ != nullptr) {
      DS_ASSIGN_OR_RETURN(checkpoint.tensors[kFloatSection], ModuleTensors(*float_model_));
    }
    if (pruning_ != nullptr) {
      DS_ASSIGN_OR_RETURN(TensorMap gone, pruning_->State());
      if (!gone.empty()) checkpoint.tensors[kPruningSection] = std::move(gone);
    }
    if (gating_ != nullptr) checkpoint.tensors[kGatingSection] = gating_->State();
    return checkpoint;
  }

  absl::StatusOr<RankState> OwnState() const {
    RankState mine = {.residuals = objects_->trainer->exchange_state().residuals};
    if (local_steps()) {
      DS_ASSIGN_OR_RETURN(mine.optimizer, OptimizerTensors(*objects_->optimizer));
    }
    return mine;
  }

  absl::Status WriteState() {
    DS_ASSIGN_OR_RETURN(
        const int contributor,
        ContributorOf(config_.trainer.exchange.compression.hierarchical, communicator_));
    CheckpointPlace place = {.step = objects_->trainer->step(), .keep = config_.checkpoint.keep};
    absl::StatusOr<Checkpoint> shared = Checkpoint();
    if (root()) {
      place.root = reporter_->folder()->checkpoints();
      shared = SharedState();
    }
    checkpointed_ = true;
    return WriteRunCheckpoint(
        place,
        [&]() {
          if (options_.before_lone_work) options_.before_lone_work("write the checkpoint");
          return std::move(shared);
        },
        OwnState(), contributor, communicator_);
  }

  // One step and one evaluation; nothing is written.
  absl::StatusOr<RunSummary> DryRun() {
    DS_RETURN_IF_ERROR(PrepareTrainer());
    DS_RETURN_IF_ERROR(objects_->train_loader->StartEpoch(0));
    DS_ASSIGN_OR_RETURN(const std::optional<Batch> batch, objects_->train_loader->Next());
    DS_ASSIGN_OR_RETURN(reporter_,
                        RunReporter::Create(config_, loss().metrics(), std::nullopt,
                                            communicator_.size(), options_.print && root(), -1));
    DS_RETURN_IF_ERROR(
        objects_->trainer
            ->Step({*batch}, batch->size() * communicator_.size(), /*end_of_epoch=*/true)
            .status());
    DS_ASSIGN_OR_RETURN(last_evaluation_, objects_->trainer->evaluate(*objects_->test_loader));
    Introduce();
    reporter_->Note("dry run: one step and one evaluation went well; nothing was written");
    return Summarize();
  }

  RunSummary Summarize() const {
    RunSummary summary = DescribeRun(config_, *objects_, progress_, communicator_.size());
    if (last_evaluation_.samples > 0) summary.final_test_accuracy = last_evaluation_.metric();
    for (const MetricValue& one : last_evaluation_.metrics)
      summary.final_test_metrics.emplace_back(one.name, one.value);
    const double epochs = static_cast<double>(std::max<int64_t>(1, epochs_here_));
    summary.train_images_per_second = images_per_second_ / epochs;
    summary.wire_bytes_per_step = last_epoch_.wire_bytes_per_step;
    summary.step_ms = {
        times_.data / epochs,     times_.forward / epochs,          times_.backward / epochs,
        times_.exchange / epochs, times_.exchange_exposed / epochs, times_.optimizer / epochs,
        times_.total() / epochs};
    if (const double added = objects_->trainer->compression_report().added_ms; added >= 0) {
      summary.predicted_step_ms = forecast_.compute_ms() + added;
      summary.median_step_ms = forecast_.step_ms();
    }
    if (pruning_ != nullptr)
      summary.pruned_share = pruning_->PrunedShare(objects_->module->graph());
    summary.wall_seconds = progress_.wall_seconds + Seconds();
    return summary;
  }

  TrainConfig config_;
  const TrainJobOptions& options_;
  Communicator& communicator_;
  const double started_s_;
  std::unique_ptr<GraphModule>
      float_model_;  // that quantisation-aware training began with: the teacher
  std::unique_ptr<JobObjects> objects_;
  std::unique_ptr<GatedTraining> gating_;    // null: no gates
  std::unique_ptr<PrunedTraining> pruning_;  // null: nothing is pruned
  QatModule* quantized_ = nullptr;           // the job's model while it trains with the rounding
  std::string start_note_;
  std::unique_ptr<RunReporter> reporter_;
  RunProgress progress_;
  bool checkpointed_ = false;  // in this run of the program
  StepMedians forecast_;
  EpochReport last_epoch_;
  Evaluation last_evaluation_;
  StepTimings times_;
  double images_per_second_ = 0;
  int64_t epochs_here_ = 0;
  std::vector<TraceSpan> trace_;
};

}  // namespace

absl::StatusOr<RunSummary> RunTrainJob(const TrainConfig& config, const TrainJobOptions& options,
                                       Communicator& communicator) {
  return TrainJob(config, options, communicator).Run();
}

}  // namespace ds
