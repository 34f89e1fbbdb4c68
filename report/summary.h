// What a finished run has to say: summary.json for programs, a table for people.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace ds {

// Mean of a step over the measured part of the run, milliseconds.
struct StepTimes {
  double data = 0;  // waiting for the loader
  double forward = 0;
  double backward = 0;
  double exchange = 0;          // with an exchange under way, hidden or not
  double exchange_exposed = 0;  // of it, not hidden behind the backward pass
  double optimiser = 0;
  double total = 0;  // wall time
};

// An integer file that the run wrote.
struct QuantizedExport {
  std::string file;  // its name in the run's folder
  int bits = 0;      // of weights
  int activation_bits = 0;
  double accuracy = 0;  // of the file, executed with its integers, by the run's metric
  int64_t bytes = 0;
};

struct RunSummary {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

  std::string name;
  std::string model;
  int64_t parameters = 0;  // numbers in trained tensors
  uint64_t seed = 0;
  std::string precision;  // the one used: fp32 | bf16 | fp16
  int64_t world_size = 1;
  int64_t epochs = 0;                  // done
  int64_t best_epoch = 0;              // counted from 1; 0: none was tested
  std::string metric = "accuracy";     // by which the best evaluation was chosen
  double test_accuracy = kNone;        // of that evaluation, by `metric`: a share 0..1, or an error
  double test_loss = kNone;            // of the same
  double final_test_accuracy = kNone;  // of the last one, by `metric`
  std::vector<std::pair<std::string, double>> final_test_metrics;  // of the last one, all
  double train_images_per_second = 0;  // all ranks, without evaluations and checkpoints
  int64_t local_steps =
      1;  // from one exchange to the next; 1: gradients are exchanged at every step
  int64_t wire_bytes_per_step = 0;   // sent by one rank, mean
  int64_t raw_bytes_per_step = 0;    // what it would have sent with fp32 gradients at every step
  std::string compression = "none";  // of what is exchanged: the one used
  std::string compression_reason;    // why `auto` chose it
  double compression_error = kNone;  // relative l2 error of one rank's gradients, as last measured
  StepTimes step_ms;
  double predicted_step_ms = kNone;  // foretold after the first steps,
  double median_step_ms = kNone;     // and of the steps after that, in the same run
  int64_t skipped_steps = 0;
  double loss_scale = kNone;  // fp16: the last
  double wall_seconds = 0;
  std::string quantization =
      "none";  // none | ptq | qat; with qat, test_accuracy is that of the fake-quantised model
  double float_accuracy =
      kNone;  // ptq, qat: of the float model that the exports were made or trained from
  std::vector<QuantizedExport> exports;
  std::string pruning = "none";  // none | channels | 2:4
  double pruned_share =
      0;  // channels: of `pruning.measure`; 2:4: of the numbers in trained tensors
  std::string gating = "none";  // none | channels
  // With gates: measured on the test split, of the model that the run has written.
  double zero_gate_share = kNone;    // of all gates, over all images
  double always_shut_share = kNone;  // share of gates that were 0 for every image,
  double never_shut_share = kNone;   // and for none
  double macs = kNone;               // multiply-accumulates of an image without gates,
  double macs_needed = kNone;  // and the mean of those for open channels, the gates' own included
  std::vector<std::pair<std::string, std::string>> versions;
};

// A metric's value as people read it: shares (accuracy, f1, ...) in percent, errors (mae, rmse)
// and perplexity as they are.
std::string MetricText(const std::string& name, double value);
// NaN becomes null.
std::string SummaryJson(const RunSummary& summary);
// Written atomically.
absl::Status WriteSummary(const std::string& path, const RunSummary& summary);
// The results table that ends a run.
std::string SummaryTable(const RunSummary& summary);

}  // namespace ds
