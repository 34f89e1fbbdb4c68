#include "jobs/prune/prune_job.h"

#include <iostream>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/status.h"
#include "executor/memory.h"
#include "graph/onnx/onnx.h"
#include "jobs/channel_importance.h"
#include "jobs/compute_threads.h"
#include "jobs/data/data_setup.h"
#include "jobs/graph_evaluation.h"
#include "jobs/model_factory.h"
#include "jobs/model_output.h"

namespace ds {
namespace {

absl::Status CheckOptions(const PruneJobOptions& options) {
  if (options.channels.samples < 1)
    return absl::InvalidArgumentError("the number of samples must be at least 1");
  if (options.pattern != "channels" && options.pattern != "2:4") {
    return absl::InvalidArgumentError(
        absl::StrCat("pattern is \"", options.pattern, "\"; it must be channels or 2:4"));
  }
  return CheckModelOutput(options.model, options.output);
}

absl::Status Prune(const TrainConfig& config, const DataSplits& splits,
                   const PruneJobOptions& options, Graph& graph, PruneSummary& summary) {
  if (options.pattern == "2:4") {
    DS_ASSIGN_OR_RETURN(summary.two_four, ApplyTwoFour(graph, options.channels.options.keep));
    return absl::OkStatus();
  }
  PruneOptions prune = options.channels.options;
  ChannelImportance importance;
  if (prune.importance == "taylor") {
    DS_ASSIGN_OR_RETURN(importance,
                        MeasureChannelImportance(config, splits, graph, options.channels.samples));
    prune.importance = "given";
  }
  DS_ASSIGN_OR_RETURN(summary.report, PruneChannels(graph, prune, importance));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PruneSummary> RunPruneJob(TrainConfig config, const PruneJobOptions& options) {
  DS_RETURN_IF_ERROR(CheckOptions(options));
  KeepFreedMemory();
  UseThreads(options.threads);
  PruneSummary summary;
  summary.model = options.model;
  summary.output = options.output;
  summary.pattern = options.pattern;
  summary.importance = options.pattern == "2:4" ? "magnitude" : options.channels.options.importance;
  DS_ASSIGN_OR_RETURN(const DataSplits splits, OpenSplits(config));
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<DataLoader> test,
                      MakeLoader(config, splits.test, DataUse::kTest));
  DS_ASSIGN_OR_RETURN(config.model, ModelAsItIs(options.model, splits.train->info().classes));
  DS_ASSIGN_OR_RETURN(Graph graph, MakeModel(config.model, splits.train->info(), config.run.seed));
  DS_ASSIGN_OR_RETURN(const std::string whole, ExportOnnxToBytes(graph));
  summary.bytes_before = static_cast<int64_t>(whole.size());
  DS_ASSIGN_OR_RETURN(const Evaluation before, EvaluateGraph(graph, config.loss, *test));
  summary.metric = before.metrics.front().name;
  summary.accuracy_before = before.metric();
  DS_RETURN_IF_ERROR(Prune(config, splits, options, graph, summary));
  DS_ASSIGN_OR_RETURN(const Evaluation after, EvaluateGraph(graph, config.loss, *test));
  summary.accuracy_after = after.metric();
  DS_ASSIGN_OR_RETURN(const std::string pruned, ExportOnnxToBytes(graph));
  summary.bytes_after = static_cast<int64_t>(pruned.size());

  const std::string report = BesideModel(options.output, ".json");
  DS_RETURN_IF_ERROR(WriteFileAtomically(options.output, pruned));
  DS_RETURN_IF_ERROR(WriteFileAtomically(report, PruneSummaryJson(summary)));
  if (options.print)
    std::cout << PruneSummaryTable(summary) << "\nwrote " << options.output << " and " << report
              << std::endl;
  return summary;
}

}  // namespace ds
