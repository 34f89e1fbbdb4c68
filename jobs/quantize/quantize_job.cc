#include "jobs/quantize/quantize_job.h"

#include <algorithm>
#include <iostream>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/status.h"
#include "deploy/onnx_exporter.h"
#include "deploy/tensorrt_exporter.h"
#include "executor/memory.h"
#include "graph/onnx/onnx.h"
#include "jobs/calibration_samples.h"
#include "jobs/compute_threads.h"
#include "jobs/data_setup.h"
#include "jobs/graph_accuracy.h"
#include "jobs/model_factory.h"
#include "jobs/model_output.h"
#include "jobs/quantize/quantize_html.h"
#include "trainer/batch_tensors.h"

namespace ds {
namespace {

absl::Status CheckOptions(const QuantizeJobOptions& options) {
  if (options.quantizer.samples < 1)
    return absl::InvalidArgumentError("the number of calibration samples must be at least 1");
  if (options.held_out < 1)
    return absl::InvalidArgumentError("the number of held-out samples must be at least 1");
  return CheckModelOutput(options.model, options.output);
}

absl::StatusOr<double> AccuracyOf(absl::string_view what, const Graph& graph, DataLoader& loader) {
  absl::StatusOr<double> accuracy = GraphAccuracy(graph, loader);
  if (accuracy.ok()) return accuracy;
  return Annotate(accuracy.status(), absl::StrCat("evaluating the ", what, " model"));
}

// Points lost by a quantised model on the batches behind those that calibration takes of the same
// epoch.
class HeldOut {
 public:
  HeldOut(Graph graph, QdqOptions qdq, std::unique_ptr<DataLoader> loader, int64_t calibrated,
          int64_t samples)
      : graph_(std::move(graph)), qdq_(qdq), loader_(std::move(loader)) {
    const int64_t batch = loader_->options().batch_size;
    range_.first = (calibrated + batch - 1) / batch;
    range_.count = (samples + batch - 1) / batch;
  }

  absl::StatusOr<double> Drop(const QuantizedModel& model) {
    if (range_.first >= loader_->batches_per_epoch()) {
      return absl::InvalidArgumentError(
          "calibration takes all of the training split: nothing is left to measure an accuracy "
          "budget on; give fewer "
          "samples");
    }
    if (!float_accuracy_.has_value()) {
      DS_ASSIGN_OR_RETURN(float_accuracy_, GraphAccuracy(graph_, *loader_, range_));
    }
    DS_ASSIGN_OR_RETURN(const Graph quantized, InsertQdq(model.graph, model.plan, qdq_));
    DS_ASSIGN_OR_RETURN(const double accuracy, GraphAccuracy(quantized, *loader_, range_));
    return 100 * (*float_accuracy_ - accuracy);
  }

 private:
  Graph graph_;
  QdqOptions qdq_;
  std::unique_ptr<DataLoader> loader_;
  BatchRange range_;
  std::optional<double> float_accuracy_;
};

// The first images of each batch of the test split, so that all of it is looked at.
absl::StatusOr<std::vector<ValueDrift>> TestDrift(const QuantizedModel& model, DataLoader& loader,
                                                  int64_t samples) {
  if (samples <= 0) return std::vector<ValueDrift>{};
  DS_ASSIGN_OR_RETURN(DriftMonitor monitor, DriftMonitor::Create(model));
  const int64_t batches = std::max<int64_t>(1, loader.batches_per_epoch());
  const int64_t a_batch = (samples + batches - 1) / batches;
  DS_RETURN_IF_ERROR(loader.StartEpoch(0));
  while (true) {
    DS_ASSIGN_OR_RETURN(const std::optional<Batch> batch, loader.Next());
    if (!batch.has_value()) return monitor.Report();
    if (batch->size() == 0) continue;
    DS_ASSIGN_OR_RETURN(std::vector<at::Tensor> inputs, InputsToTorch(*batch, model.graph));
    for (at::Tensor& input : inputs) input = input.narrow(0, 0, std::min(a_batch, batch->size()));
    DS_RETURN_IF_ERROR(monitor.Add(inputs));
  }
}

// The reports, beside the model's file. Their paths as a person reads them.
absl::StatusOr<std::string> WriteReports(const std::string& output,
                                         const QuantizeSummary& summary) {
  const std::string json = BesideModel(output, ".json"), html = BesideModel(output, ".html");
  DS_RETURN_IF_ERROR(WriteFileAtomically(json, QuantizeSummaryJson(summary)));
  DS_RETURN_IF_ERROR(WriteFileAtomically(html, QuantizeSummaryHtml(summary)));
  return absl::StrCat(json, " and ", html);
}

// Writes the file, and for TensorRT what goes with it; its bytes.
absl::StatusOr<int64_t> Export(const Graph& placed, const QuantizeJobOptions& options) {
  if (options.qdq.profile == QdqProfile::kOnnxRuntime) {
    DS_ASSIGN_OR_RETURN(const OnnxExportResult exported,
                        OnnxExporter({.qdq = options.qdq}).Write(placed, options.output));
    return exported.bytes;
  }
  DS_ASSIGN_OR_RETURN(const TensorRTExportResult exported,
                      TensorRTExporter().Write(placed, options.output));
  const TrtBuild build =
      RunTrtRecipe(exported.recipe_path, BesideModel(options.output, ".trtexec.log"));
  if (options.print)
    std::cout << "wrote " << exported.recipe_path << " and " << exported.lint_path
              << "\nTensorRT: " << build.message << "\n";
  return exported.bytes;
}

}  // namespace

absl::StatusOr<QuantizeSummary> RunQuantizeJob(TrainConfig config,
                                               const QuantizeJobOptions& options) {
  DS_RETURN_IF_ERROR(CheckOptions(options));
  KeepFreedMemory();
  UseThreads(options.threads);
  QuantizeSummary summary;
  summary.model = options.model;
  summary.output = options.output;
  summary.bits = options.quantizer.options.bits;
  summary.activation_bits = options.quantizer.options.activation_bits;

  DS_ASSIGN_OR_RETURN(const DataSplits splits, OpenSplits(config));
  if (options.print) SayNotes(splits);
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<DataLoader> calibration,
                      MakeLoader(config, splits.train, DataUse::kCalibrate));
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<DataLoader> test,
                      MakeLoader(config, splits.test, DataUse::kTest));
  DS_ASSIGN_OR_RETURN(config.model, ModelAsItIs(options.model, splits.train->info().classes));
  DS_ASSIGN_OR_RETURN(const Graph graph, MakeModel(config.model, splits.train->info(),
                                                   config.run.seed, &summary.warnings));
  DS_ASSIGN_OR_RETURN(summary.float_accuracy, AccuracyOf("float", graph, *test));

  QuantizerOptions quantizer = options.quantizer.options;
  std::optional<HeldOut> held_out;
  if (quantizer.mixed_bits.accuracy_budget > 0) {
    DS_ASSIGN_OR_RETURN(std::unique_ptr<DataLoader> rest,
                        MakeLoader(config, splits.train, DataUse::kCalibrate));
    held_out.emplace(graph, options.qdq, std::move(rest), options.quantizer.samples,
                     options.held_out);
    quantizer.mixed_bits.drop = [&held_out](const QuantizedModel& model) {
      return held_out->Drop(model);
    };
  }
  DS_RETURN_IF_ERROR(calibration->StartEpoch(0));
  DS_ASSIGN_OR_RETURN(QuantizedModel model,
                      Quantizer(graph, std::move(quantizer))
                          .calibrate(FirstSamples(*calibration, graph, options.quantizer.samples))
                          .convert());
  QdqReport placed;
  DS_ASSIGN_OR_RETURN(const Graph quantized,
                      InsertQdq(model.graph, model.plan, options.qdq, &placed));
  DS_ASSIGN_OR_RETURN(summary.quantized_accuracy, AccuracyOf("quantised", quantized, *test));
  DS_ASSIGN_OR_RETURN(const std::string float_file, ExportOnnxToBytes(model.graph));
  summary.float_bytes = static_cast<int64_t>(float_file.size());
  DS_ASSIGN_OR_RETURN(summary.drift, TestDrift(model, *test, options.drift_samples));
  summary.layers = std::move(model.layers);
  summary.activations = std::move(model.activations);
  summary.units = std::move(model.units);
  for (std::string& warning : model.warnings) summary.warnings.push_back(std::move(warning));
  summary.mixed_bits = std::move(model.mixed_bits);
  summary.histograms = std::move(model.histograms);
  for (std::string& warning : DriftWarnings(summary.drift))
    summary.warnings.push_back(std::move(warning));
  for (const NodeFate& fate : placed.nodes) {
    if (!fate.quantised)
      summary.warnings.push_back(
          absl::StrCat("node \"", fate.node, "\" (", fate.op, ") stays float: ", fate.reason));
  }

  DS_ASSIGN_OR_RETURN(summary.quantized_bytes, Export(quantized, options));
  DS_ASSIGN_OR_RETURN(const std::string reports, WriteReports(options.output, summary));
  if (options.print)
    std::cout << QuantizeSummaryTable(summary) << "\nwrote " << options.output << ", " << reports
              << std::endl;
  return summary;
}

}  // namespace ds
