// Prunes an ONNX model and measures what that does to its accuracy: what `ds_prune` does after it
// has read its arguments. The result is an ONNX file to fine-tune with ds_train (`model.onnx`).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "jobs/config/train_config.h"
#include "prune/pruning.h"
#include "prune/two_four.h"

namespace ds {

struct PruneJobOptions {
  std::string model;                 // ONNX file, float
  std::string output;                // ONNX file to write
  std::string pattern = "channels";  // channels | 2:4
  ChannelPruning channels;           // for 2:4 only `keep` counts
  int threads = 0;                   // compute threads; 0: as UseThreads
  bool print = true;                 // tables on stdout
};

struct PruneSummary {
  std::string model;
  std::string output;
  std::string pattern;
  std::string importance;
  std::string metric = "accuracy";  // the loss' first, which the next two are
  double accuracy_before = 0;       // on the test split; shares 0..1
  double accuracy_after = 0;        // of the written graph, before any fine-tuning
  int64_t bytes_before = 0;         // of the two files
  int64_t bytes_after = 0;
  PruneReport report;                  // of channels
  std::vector<TwoFourLayer> two_four;  // of 2:4
};

// Writes `output` and, beside it, `output` with .json in place of .onnx: the summary. Errors say
// what, where and how to mend it; nothing is written then.
absl::StatusOr<PruneSummary> RunPruneJob(TrainConfig config, const PruneJobOptions& options);

std::string PruneSummaryJson(const PruneSummary& summary);
std::string PruneSummaryTable(const PruneSummary& summary);

}  // namespace ds
