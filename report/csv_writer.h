// metrics.csv: a row every few steps of training, and one for each evaluation. Each is handed to
// the system at once: a run that was killed has all but the last line.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file/file_system.h"

namespace ds {

// NaN cells stay empty.
struct MetricsRow {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

  int64_t step = 0;             // optimiser steps done
  int64_t epoch = 0;            // counted from 1
  std::string split = "train";  // train | test
  double loss = kNone;
  std::vector<double> metrics = {kNone};  // as many as the heading names; shares 0..1
  double learning_rate = kNone;
  double images_per_second = kNone;  // all ranks
  double loss_scale = kNone;         // fp16
  int64_t skipped_steps = 0;         // of the run
  double data_ms = kNone;            // a step: mean since the last row
  double forward_ms = kNone;
  double backward_ms = kNone;
  double exchange_ms = kNone;          // with an exchange under way
  double exchange_exposed_ms = kNone;  // of it, not hidden behind backward
  double optimiser_ms = kNone;
};

// The heading, without '\n'; `metrics`: the names of what is measured beside the loss.
std::string MetricsHeading(const std::vector<std::string>& metrics = {"accuracy"});
// One row, without '\n'. Losses, accuracies and rates to 9 digits (a float exactly), speeds and
// times to 3 places.
std::string FormatMetricsRow(const MetricsRow& row);

class MetricsWriter {
 public:
  // A new file at `path`; `resume_step` >= 0 keeps the rows of an existing one up to that step and
  // drops the rest (and a torn last line), so that a resumed run's file is that of a run that never
  // stopped. FailedPrecondition if the existing file has other columns; otherwise the system's own
  // words.
  static absl::StatusOr<std::unique_ptr<MetricsWriter>> Open(
      const std::string& path, int64_t resume_step = -1,
      const std::vector<std::string>& metrics = {"accuracy"});

  absl::Status Write(const MetricsRow& row);
  // The rows so far are on the disk: before a checkpoint is written, which a resumed run's rows go
  // on from.
  absl::Status Sync() { return file_->Sync(); }

 private:
  explicit MetricsWriter(std::unique_ptr<WritableFile> file) : file_(std::move(file)) {}
  std::unique_ptr<WritableFile> file_;
};

}  // namespace ds
