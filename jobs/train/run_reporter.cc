#include "jobs/train/run_reporter.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "base/tensor/safetensors.h"
#include "graph/finite_weights.h"
#include "graph/onnx/onnx.h"
#include "report/summary.h"
#include "report/terminal.h"
#include "report/trace.h"

namespace ds {

absl::StatusOr<std::unique_ptr<RunReporter>> RunReporter::Create(const TrainConfig& config,
                                                                 std::vector<std::string> metrics,
                                                                 std::optional<RunFolder> folder,
                                                                 int world_size, bool print,
                                                                 int64_t resume_step) {
  auto reporter = std::unique_ptr<RunReporter>(new RunReporter());
  reporter->config_ = config;
  reporter->metrics_names_ = std::move(metrics);
  reporter->folder_ = std::move(folder);
  reporter->world_size_ = world_size;
  reporter->print_ = print;
  ProgressOptions options;
  options.bar = print && PersonIsLooking(STDOUT_FILENO);
  options.width = options.bar ? TerminalWidth(STDOUT_FILENO) : 80;
  options.every_steps = config.log.every_steps;
  options.out = print ? &std::cout : nullptr;
  reporter->progress_ = std::make_unique<Progress>(options);
  if (reporter->folder_.has_value()) {
    DS_ASSIGN_OR_RETURN(
        reporter->metrics_,
        MetricsWriter::Open(reporter->folder_->metrics(), resume_step, reporter->metrics_names_));
    if (config.log.tensorboard) {
      DS_ASSIGN_OR_RETURN(reporter->events_,
                          TensorBoardWriter::Open(reporter->folder_->events(), resume_step));
    }
  }
  return reporter;
}

std::vector<double> RunReporter::TrainMetrics() const {
  std::vector<double> cells(metrics_names_.size(), MetricsRow::kNone);
  for (const MetricValue& one : measured_.Values()) {
    const auto column = std::find(metrics_names_.begin(), metrics_names_.end(), one.name);
    if (column != metrics_names_.end())
      cells[static_cast<size_t>(column - metrics_names_.begin())] = one.value;
  }
  return cells;
}

absl::Status RunReporter::Step(const StepReport& report, int64_t skipped_steps, bool scaled) {
  times_ += report.times;
  loss_ += report.loss * report.weight;
  weight_ += report.weight;
  if (steps_++ == 0) {
    measured_ = report.metrics;
  } else {
    measured_.Add(report.metrics);
  }
  ProgressState state;
  state.epoch = report.epoch + 1;
  state.epochs = config_.run.epochs;
  state.step = report.step_in_epoch + 1;
  state.steps_per_epoch = report.steps_per_epoch;
  state.loss = weight_ > 0 ? loss_ / weight_ : 0;
  const std::vector<double> cells = TrainMetrics();
  for (size_t i = cells.size(); i-- > 0;) {
    if (std::isnan(cells[i])) continue;
    state.metric = metrics_names_[i];
    state.measured = cells[i];
  }
  state.learning_rate = report.learning_rate;
  state.loss_scale = scaled ? report.loss_scale : 0;
  state.skipped_steps = skipped_steps;
  progress_->Step(state, report.samples * world_size_);
  const bool last = state.step == state.steps_per_epoch;
  if (!last && (report.step + 1) % config_.log.every_steps != 0) return absl::OkStatus();
  MetricsRow row;
  row.step = report.step + 1;
  row.epoch = state.epoch;
  row.loss = state.loss;
  row.metrics = cells;
  row.learning_rate = state.learning_rate;
  row.images_per_second = progress_->images_per_second();
  if (scaled) row.loss_scale = report.loss_scale;
  row.skipped_steps = skipped_steps;
  const double steps = static_cast<double>(steps_);
  row.data_ms = times_.data / steps;
  row.forward_ms = times_.forward / steps;
  row.backward_ms = times_.backward / steps;
  row.exchange_ms = times_.exchange / steps;
  row.exchange_exposed_ms = times_.exchange_exposed / steps;
  row.optimiser_ms = times_.optimizer / steps;
  DS_RETURN_IF_ERROR(WriteStep(row));
  times_ = {};
  loss_ = weight_ = 0;
  steps_ = 0;
  return absl::OkStatus();
}

absl::Status RunReporter::WriteStep(const MetricsRow& row) {
  if (metrics_ != nullptr) DS_RETURN_IF_ERROR(metrics_->Write(row));
  if (events_ == nullptr) return absl::OkStatus();
  DS_RETURN_IF_ERROR(events_->AddScalar("loss/train", row.step, row.loss));
  for (size_t i = 0; i < row.metrics.size(); ++i) {
    if (std::isnan(row.metrics[i])) continue;
    DS_RETURN_IF_ERROR(events_->AddScalar(metrics_names_[i] + "/train", row.step, row.metrics[i]));
  }
  DS_RETURN_IF_ERROR(events_->AddScalar("learning_rate", row.step, row.learning_rate));
  if (std::isnan(row.loss_scale)) return absl::OkStatus();
  return events_->AddScalar("loss_scale", row.step, row.loss_scale);
}

absl::Status RunReporter::Epoch(const EpochReport& epoch, const Evaluation& evaluation,
                                int64_t step) {
  std::string line =
      absl::StrFormat("epoch %d: train loss %.4f", epoch.epoch + 1, epoch.train_loss);
  for (const MetricValue& one : epoch.train_metrics)
    absl::StrAppend(&line, ", ", one.name, " ", MetricText(one.name, one.value));
  absl::StrAppendFormat(&line, "; test loss %.4f", evaluation.loss);
  for (const MetricValue& one : evaluation.metrics)
    absl::StrAppend(&line, ", ", one.name, " ", MetricText(one.name, one.value));
  absl::StrAppendFormat(&line, "; %.0f images/s", epoch.images_per_second);
  Note(line);
  if (metrics_ != nullptr) {
    MetricsRow row;
    row.step = step;
    row.epoch = epoch.epoch + 1;
    row.split = "test";
    row.loss = evaluation.loss;
    row.metrics.clear();
    for (const MetricValue& one : evaluation.metrics) row.metrics.push_back(one.value);
    row.skipped_steps = epoch.skipped_steps;
    DS_RETURN_IF_ERROR(metrics_->Write(row));
  }
  if (events_ == nullptr) return absl::OkStatus();
  DS_RETURN_IF_ERROR(events_->AddScalar("loss/test", step, evaluation.loss));
  for (const MetricValue& one : evaluation.metrics)
    DS_RETURN_IF_ERROR(events_->AddScalar(one.name + "/test", step, one.value));
  return absl::OkStatus();
}

absl::Status RunReporter::Sync() {
  if (metrics_ != nullptr) DS_RETURN_IF_ERROR(metrics_->Sync());
  return events_ == nullptr ? absl::OkStatus() : events_->Sync();
}

absl::Status RunReporter::WriteModel(const Graph& graph) {
  if (!folder_.has_value()) return absl::OkStatus();
  DS_RETURN_IF_ERROR(Annotate(CheckFiniteWeights(graph), "writing the model"));
  TensorMap tensors;
  for (const auto& [id, initializer] : graph.initializers())
    tensors[graph.value(id).name] = initializer.data;
  DS_RETURN_IF_ERROR(
      WriteSafetensors(folder_->model_safetensors(), tensors, {{"model", config_.model.name}}));
  return ExportOnnx(graph, folder_->model_onnx());
}

absl::Status RunReporter::WriteTrace(const std::vector<std::string>& parts) {
  if (!folder_.has_value()) return absl::OkStatus();
  return ds::WriteTrace(folder_->trace(), parts);
}

absl::Status RunReporter::Finish(const RunSummary& summary) {
  progress_->Close();
  DS_RETURN_IF_ERROR(Sync());
  if (folder_.has_value()) DS_RETURN_IF_ERROR(WriteSummary(folder_->summary(), summary));
  if (!print_) return absl::OkStatus();
  std::cout << "\n" << SummaryTable(summary);
  if (folder_.has_value()) std::cout << "\n" << folder_->Contents();
  std::cout.flush();
  return absl::OkStatus();
}

}  // namespace ds
