#include "trainer/quantize_job.h"

#include <iostream>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/status.h"
#include "deploy/onnx_exporter.h"
#include "graph/onnx/onnx.h"
#include "trainer/data_setup.h"
#include "trainer/evaluate.h"
#include "trainer/executor/memory.h"
#include "trainer/mixed_precision_trainer.h"
#include "trainer/model_factory.h"
#include "trainer/optim/loss.h"

namespace ds {
namespace {

constexpr char kSuffix[] = ".onnx";

absl::Status CheckOptions(const QuantizeJobOptions& options) {
  if (options.samples < 1) return absl::InvalidArgumentError("the number of calibration samples must be at least 1");
  if (!absl::EndsWith(options.output, kSuffix)) {
    return absl::InvalidArgumentError(absl::StrCat("output \"", options.output, "\" does not end in .onnx"));
  }
  if (options.output == options.model) {
    return absl::InvalidArgumentError("the output is the model itself: give another file, the float model is still needed");
  }
  return absl::OkStatus();
}

// The first `samples` of the loader's epoch, whole batches but the last.
CalibrationData FirstSamples(DataLoader& loader, int64_t samples) {
  return [&loader, left = samples]() mutable -> absl::StatusOr<std::optional<std::vector<at::Tensor>>> {
    while (left > 0) {
      DS_ASSIGN_OR_RETURN(const std::optional<Batch> batch, loader.Next());
      if (!batch.has_value()) break;
      if (batch->size() == 0) continue;
      // The batch's memory goes back to the loader.
      const int64_t taken = std::min(left, batch->size());
      left -= taken;
      return std::vector<at::Tensor>{InputsToTorch(*batch).narrow(0, 0, taken).clone()};
    }
    return std::nullopt;
  };
}

absl::StatusOr<double> Accuracy(const Graph& graph, DataLoader& loader) {
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<GraphModule> module, GraphModule::Create(graph));
  DS_ASSIGN_OR_RETURN(const Loss loss, Loss::Create({}));
  DS_ASSIGN_OR_RETURN(const Evaluation evaluation, Evaluate(*module, loss, loader));
  return evaluation.accuracy;
}

}  // namespace

absl::StatusOr<QuantizeSummary> RunQuantizeJob(TrainConfig config, const QuantizeJobOptions& options) {
  DS_RETURN_IF_ERROR(CheckOptions(options));
  KeepFreedMemory();
  QuantizeSummary summary;
  summary.model = options.model;
  summary.output = options.output;
  summary.bits = options.quantizer.bits;
  summary.activation_bits = options.quantizer.activation_bits;

  DS_ASSIGN_OR_RETURN(const DataSplits splits, OpenSplits(config));
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<DataLoader> calibration, MakeLoader(config, splits.train, DataUse::kCalibrate));
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<DataLoader> test, MakeLoader(config, splits.test, DataUse::kTest));
  config.model = {.onnx = options.model};
  DS_ASSIGN_OR_RETURN(const Graph graph, MakeModel(config.model, splits.train->info(), config.run.seed));
  DS_ASSIGN_OR_RETURN(summary.float_accuracy, Accuracy(graph, *test));

  DS_RETURN_IF_ERROR(calibration->StartEpoch(0));
  DS_ASSIGN_OR_RETURN(QuantizedModel model,
                      Quantizer(graph, options.quantizer).calibrate(FirstSamples(*calibration, options.samples)).convert());
  QdqReport placed;
  DS_ASSIGN_OR_RETURN(const Graph quantized, InsertQdq(model.graph, model.plan, {}, &placed));
  DS_ASSIGN_OR_RETURN(summary.quantized_accuracy, Accuracy(quantized, *test));
  DS_ASSIGN_OR_RETURN(const std::string float_file, ExportOnnxToBytes(model.graph));
  summary.float_bytes = static_cast<int64_t>(float_file.size());
  summary.layers = std::move(model.layers);
  summary.activations = std::move(model.activations);
  summary.warnings = std::move(model.warnings);
  for (const NodeFate& fate : placed.nodes) {
    if (!fate.quantised) summary.warnings.push_back(absl::StrCat("node \"", fate.node, "\" (", fate.op, ") stays float: ", fate.reason));
  }

  DS_ASSIGN_OR_RETURN(const OnnxExportResult exported, OnnxExporter().Export(model.graph, model.plan, options.output));
  summary.quantized_bytes = exported.bytes;
  const std::string report = absl::StrCat(absl::StripSuffix(options.output, kSuffix), ".json");
  DS_RETURN_IF_ERROR(WriteFileAtomically(report, QuantizeSummaryJson(summary)));
  if (options.print) std::cout << QuantizeSummaryTable(summary) << "\nwrote " << options.output << " and " << report << std::endl;
  return summary;
}

}  // namespace ds
