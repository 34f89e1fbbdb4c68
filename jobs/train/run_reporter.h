// Everything that a run tells: progress for people, metrics.csv, TensorBoard, trace, summary,
// models. Rank 0 writes; the others keep quiet.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "jobs/config/train_config.h"
#include "report/csv_writer.h"
#include "report/progress.h"
#include "report/run_folder.h"
#include "report/summary.h"
#include "report/tensorboard.h"
#include "trainer/mixed_precision_trainer.h"

namespace ds {

class RunReporter {
 public:
  // `folder` absent: nothing is written (other ranks, dry runs). `resume_step` >= 0: rows after it
  // are dropped.
  // `metrics`: the names of what evaluations measure.
  static absl::StatusOr<std::unique_ptr<RunReporter>> Create(const TrainConfig& config,
                                                             std::vector<std::string> metrics,
                                                             std::optional<RunFolder> folder,
                                                             int world_size, bool print,
                                                             int64_t resume_step);

  absl::Status Step(const StepReport& report, int64_t skipped_steps, bool scaled);
  // Around evaluation and checkpoint, which the speed leaves out.
  void Pause() { progress_->Pause(); }
  void Resume() { progress_->Resume(); }
  void Note(const std::string& line) { progress_->Note(line); }
  absl::Status Epoch(const EpochReport& epoch, const Evaluation& evaluation, int64_t step);
  // What was told so far is on the disk.
  absl::Status Sync();
  // model.safetensors and model.onnx, each whole or not at all.
  absl::Status WriteModel(const Graph& graph);
  // Parts as GatherTraces gives them.
  absl::Status WriteTrace(const std::vector<std::string>& parts);
  // summary.json and, for people, the results table.
  absl::Status Finish(const RunSummary& summary);
  const std::optional<RunFolder>& folder() const { return folder_; }

 private:
  RunReporter() = default;

  // A training row's cells: what steps measure; empty where that is less than evaluations do.
  std::vector<double> TrainMetrics() const;
  absl::Status WriteStep(const MetricsRow& row);

  TrainConfig config_;
  std::vector<std::string> metrics_names_;
  std::optional<RunFolder> folder_;
  int world_size_ = 1;
  bool print_ = false;
  std::unique_ptr<Progress> progress_;
  std::unique_ptr<MetricsWriter> metrics_;
  std::unique_ptr<TensorBoardWriter> events_;
  // Since the last row of metrics.
  StepTimings times_;
  double loss_ = 0, weight_ = 0;
  MetricSums measured_;
  int64_t steps_ = 0;
};

}  // namespace ds
