#include "trainer/prune_job.h"

#include <algorithm>
#include <iostream>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/status.h"
#include "graph/onnx/onnx.h"
#include "quant/torch/taylor_importance.h"
#include "trainer/data_setup.h"
#include "trainer/executor/memory.h"
#include "trainer/graph_accuracy.h"
#include "trainer/mixed_precision_trainer.h"
#include "trainer/model_factory.h"
#include "trainer/optim/loss.h"

namespace ds {
namespace {

constexpr char kSuffix[] = ".onnx";
// Squares are taken of sums over so many samples.
constexpr int64_t kTaylorBatch = 32;

absl::Status CheckOptions(const PruneJobOptions& options) {
  if (options.samples < 1)
    return absl::InvalidArgumentError("the number of samples must be at least 1");
  if (options.pattern != "channels" && options.pattern != "2:4") {
    return absl::InvalidArgumentError(
        absl::StrCat("pattern is \"", options.pattern, "\"; it must be channels or 2:4"));
  }
  if (!absl::EndsWith(options.output, kSuffix)) {
    return absl::InvalidArgumentError(
        absl::StrCat("output \"", options.output, "\" does not end in .onnx"));
  }
  if (options.output == options.model) {
    return absl::InvalidArgumentError("the output is the model itself: give another file");
  }
  return absl::OkStatus();
}

// The first `samples` of the loader's epoch in small batches.
LabelledBatches SmallBatches(DataLoader& loader, int64_t samples) {
  struct State {
    LabelledBatch batch;
    int64_t at = 0, size = 0, left = 0;
  };
  return [&loader, state = State{
                       .left = samples}]() mutable -> absl::StatusOr<std::optional<LabelledBatch>> {
    while (state.at == state.size && state.left > 0) {
      DS_ASSIGN_OR_RETURN(const std::optional<Batch> batch, loader.Next());
      if (!batch.has_value()) return std::nullopt;
      // The batch's memory goes back to the loader.
      state.batch = {{InputsToTorch(*batch).clone()}, LabelsToTorch(*batch).clone()};
      state.at = 0;
      state.size = batch->size();
    }
    const int64_t count = std::min({kTaylorBatch, state.size - state.at, state.left});
    if (count == 0) return std::nullopt;
    const int64_t from = std::exchange(state.at, state.at + count);
    state.left -= count;
    return LabelledBatch{{state.batch.inputs[0].narrow(0, from, count)},
                         state.batch.labels.narrow(0, from, count)};
  };
}

absl::StatusOr<ChannelImportance> MeasureImportance(const TrainConfig& config,
                                                    const DataSplits& splits, const Graph& graph,
                                                    int64_t samples) {
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<DataLoader> loader,
                      MakeLoader(config, splits.train, DataUse::kCalibrate));
  DS_RETURN_IF_ERROR(loader->StartEpoch(0));
  DS_ASSIGN_OR_RETURN(const Loss loss, Loss::Create({}));
  const auto value = [&loss](const at::Tensor& output,
                             const at::Tensor& labels) -> absl::StatusOr<at::Tensor> {
    DS_ASSIGN_OR_RETURN(const LossResult result, loss(output, labels));
    return result.loss;
  };
  return TaylorImportance(graph, SmallBatches(*loader, samples), value);
}

absl::Status Prune(const TrainConfig& config, const DataSplits& splits,
                   const PruneJobOptions& options, Graph& graph, PruneSummary& summary) {
  if (options.pattern == "2:4") {
    DS_ASSIGN_OR_RETURN(summary.two_four, ApplyTwoFour(graph, options.prune.keep));
    return absl::OkStatus();
  }
  PruneOptions prune = options.prune;
  ChannelImportance importance;
  if (prune.importance == "taylor") {
    DS_ASSIGN_OR_RETURN(importance, MeasureImportance(config, splits, graph, options.samples));
    prune.importance = "given";
  }
  DS_ASSIGN_OR_RETURN(summary.report, PruneChannels(graph, prune, importance));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PruneSummary> RunPruneJob(TrainConfig config, const PruneJobOptions& options) {
  DS_RETURN_IF_ERROR(CheckOptions(options));
  KeepFreedMemory();
  PruneSummary summary;
  summary.model = options.model;
  summary.output = options.output;
  summary.pattern = options.pattern;
  summary.importance = options.pattern == "2:4" ? "magnitude" : options.prune.importance;
  DS_ASSIGN_OR_RETURN(const DataSplits splits, OpenSplits(config));
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<DataLoader> test,
                      MakeLoader(config, splits.test, DataUse::kTest));
  DS_ASSIGN_OR_RETURN(config.model, ModelAsItIs(options.model, splits.train->info().classes));
  DS_ASSIGN_OR_RETURN(Graph graph, MakeModel(config.model, splits.train->info(), config.run.seed));
  DS_ASSIGN_OR_RETURN(const std::string whole, ExportOnnxToBytes(graph));
  summary.bytes_before = static_cast<int64_t>(whole.size());
  DS_ASSIGN_OR_RETURN(summary.accuracy_before, GraphAccuracy(graph, *test));
  DS_RETURN_IF_ERROR(Prune(config, splits, options, graph, summary));
  DS_ASSIGN_OR_RETURN(summary.accuracy_after, GraphAccuracy(graph, *test));
  DS_ASSIGN_OR_RETURN(const std::string pruned, ExportOnnxToBytes(graph));
  summary.bytes_after = static_cast<int64_t>(pruned.size());

  const std::string report = absl::StrCat(absl::StripSuffix(options.output, kSuffix), ".json");
  DS_RETURN_IF_ERROR(WriteFileAtomically(options.output, pruned));
  DS_RETURN_IF_ERROR(WriteFileAtomically(report, PruneSummaryJson(summary)));
  if (options.print)
    std::cout << PruneSummaryTable(summary) << "\nwrote " << options.output << " and " << report
              << std::endl;
  return summary;
}

}  // namespace ds
