#include "jobs/quantize/quantize_job.h"

#include <algorithm>
#include <iostream>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file/file.h"
#include "base/status.h"
#include "comm/inprocess/single.h"
#include "deploy/onnx_exporter.h"
#include "deploy/tensorrt_exporter.h"
#include "executor/graph_module.h"
#include "executor/memory.h"
#include "graph/onnx/onnx.h"
#include "jobs/compute_threads.h"
#include "jobs/model_output.h"
#include "jobs/quantize/compare_graphs.h"
#include "jobs/quantize/quantize_html.h"
#include "trainer/divergence.h"
#include "trainer/optim/metric_names.h"

namespace ds {
namespace {

absl::Status CheckOptions(const QuantizeJobOptions& options) {
  if (options.quantizer.samples < 1)
    return absl::InvalidArgumentError("the number of calibration samples must be at least 1");
  if (options.held_out < 1)
    return absl::InvalidArgumentError("the number of held-out samples must be at least 1");
  return CheckModelOutput(options.model, options.output);
}

// By how much a quantised model is worse, in percent: points of a share, growth of an error.
double Drop(const Evaluation& exact, const Evaluation& quantized) {
  const double before = exact.metric(), after = quantized.metric();
  if (HigherIsBetter(exact.metrics.front().name)) return 100 * (before - after);
  return before > 0 ? 100 * (after - before) / before : 0;
}

// What a quantised model loses on samples that it was not calibrated on.
absl::StatusOr<double> HeldOutDrop(SampleSource& source, const QuantizedModel& model,
                                   const LossOptions& loss, const QuantizeJobOptions& options) {
  DS_ASSIGN_OR_RETURN(const TestBatches batches,
                      source.HeldOut(options.quantizer.samples, options.held_out));
  DS_ASSIGN_OR_RETURN(const Graph quantized, InsertQdq(model.graph, model.plan, options.qdq));
  DS_ASSIGN_OR_RETURN(const GraphComparison comparison,
                      CompareGraphs(source.graph(), quantized, loss, batches));
  if (comparison.exact.has_value()) return Drop(*comparison.exact, *comparison.quantized);
  return absl::FailedPreconditionError(
      "an accuracy budget is measured on labels, and the data has none that go with the model; "
      "give a size budget");
}

// The first samples of each batch of the test data, so that all of it is looked at.
absl::StatusOr<std::vector<ValueDrift>> TestDrift(const QuantizedModel& model, SampleSource& source,
                                                  int64_t samples) {
  if (samples <= 0) return std::vector<ValueDrift>{};
  DS_ASSIGN_OR_RETURN(DriftMonitor monitor, DriftMonitor::Create(model));
  DS_ASSIGN_OR_RETURN(const TestBatches batches, source.Test());
  const int64_t count = std::max<int64_t>(1, source.test_batches());
  const int64_t a_batch = (samples + count - 1) / count;
  while (true) {
    DS_ASSIGN_OR_RETURN(const std::optional<TestBatch> batch, batches());
    if (!batch.has_value()) return monitor.Report();
    DS_RETURN_IF_ERROR(monitor.Add(FirstSamplesOf(source.graph(), batch->inputs, a_batch)));
  }
}

absl::StatusOr<std::unique_ptr<SampleSource>> OpenSamples(TrainConfig& config,
                                                          const QuantizeJobOptions& options) {
  if (options.random) return RandomSamples(options.model, options.random_samples);
  return SamplesOfData(config, options.model);
}

absl::Status CheckWrittenFile(SampleSource& source, const Graph& quantized,
                              const QuantizeJobOptions& options, QuantizeSummary& summary) {
  constexpr int64_t kSamples = 8;
  DS_ASSIGN_OR_RETURN(const TestBatches batches, source.Test());
  DS_ASSIGN_OR_RETURN(const std::optional<TestBatch> batch, batches());
  if (!batch.has_value()) return absl::InvalidArgumentError("the test data is empty");
  DS_ASSIGN_OR_RETURN(
      summary.runtime,
      CheckInRuntime(options.output, source.graph(), quantized,
                     FirstSamplesOf(source.graph(), batch->inputs, kSamples), options.runtime));
  for (const std::string& fault : summary.runtime.faults) summary.warnings.push_back(fault);
  return absl::OkStatus();
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

// By labels where there are some, and output by output.
absl::Status Measure(SampleSource& source, const Graph& quantized, const LossOptions& loss,
                     QuantizeSummary& summary) {
  DS_ASSIGN_OR_RETURN(const TestBatches batches, source.Test());
  absl::StatusOr<GraphComparison> comparison =
      CompareGraphs(source.graph(), quantized, loss, batches);
  if (!comparison.ok())
    return Annotate(comparison.status(), "comparing the float and the quantised model");
  summary.outputs = std::move(comparison->outputs);
  for (std::string& warning : comparison->warnings) summary.warnings.push_back(std::move(warning));
  if (!comparison->exact.has_value()) return absl::OkStatus();
  summary.float_metrics = comparison->exact->metrics;
  summary.quantized_metrics = comparison->quantized->metrics;
  summary.metric = summary.float_metrics.front().name;
  summary.float_accuracy = summary.float_metrics.front().value;
  summary.quantized_accuracy = summary.quantized_metrics.front().value;
  return absl::OkStatus();
}

// What the quantiser and the placement have to say.
void TakeReport(QuantizedModel model, const QdqReport& placed, QuantizeSummary& summary) {
  summary.layers = std::move(model.layers);
  summary.activations = std::move(model.activations);
  summary.units = std::move(model.units);
  summary.mixed_bits = std::move(model.mixed_bits);
  summary.histograms = std::move(model.histograms);
  const auto warn = [&summary](std::vector<std::string> lines) {
    for (std::string& line : lines) summary.warnings.push_back(std::move(line));
  };
  warn(std::move(model.warnings));
  warn(DriftWarnings(summary.drift));
  for (const NodeFate& fate : placed.nodes) {
    if (!fate.quantised)
      summary.warnings.push_back(
          absl::StrCat("node \"", fate.node, "\" (", fate.op, ") stays float: ", fate.reason));
  }
}

// What was not finite first, where the float model itself is not; else the error as it is.
absl::Status WhyItFailed(SampleSource& source, const absl::Status& error) {
  DS_ASSIGN_OR_RETURN(const TestBatches batches, source.Test());
  DS_ASSIGN_OR_RETURN(const std::optional<TestBatch> batch, batches());
  if (!batch.has_value()) return error;
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<GraphModule> module,
                      GraphModule::Create(source.graph()));
  const absl::StatusOr<std::optional<Divergence>> found = FindInForward(*module, batch->inputs);
  if (!found.ok() || !found->has_value()) return error;
  const std::unique_ptr<Communicator> alone = CreateSingleCommunicator();
  return DivergenceError("the float model's outputs are not finite", *found, *alone);
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

  DS_ASSIGN_OR_RETURN(const std::unique_ptr<SampleSource> source, OpenSamples(config, options));
  summary.samples = source->Describe();
  summary.warnings = source->notes();
  QuantizerOptions quantizer = options.quantizer.options;
  if (quantizer.mixed_bits.accuracy_budget > 0) {
    quantizer.mixed_bits.drop = [&](const QuantizedModel& model) {
      return HeldOutDrop(*source, model, config.loss, options);
    };
  }
  DS_ASSIGN_OR_RETURN(const CalibrationData samples,
                      source->Calibration(options.quantizer.samples));
  absl::StatusOr<QuantizedModel> made =
      Quantizer(source->graph(), std::move(quantizer)).calibrate(samples).convert();
  if (!made.ok()) return WhyItFailed(*source, made.status());
  QuantizedModel model = *std::move(made);
  QdqReport placed;
  DS_ASSIGN_OR_RETURN(const Graph quantized,
                      InsertQdq(model.graph, model.plan, options.qdq, &placed));
  DS_RETURN_IF_ERROR(Measure(*source, quantized, config.loss, summary));
  DS_ASSIGN_OR_RETURN(const std::string float_file, ExportOnnxToBytes(model.graph));
  summary.float_bytes = static_cast<int64_t>(float_file.size());
  DS_ASSIGN_OR_RETURN(summary.drift, TestDrift(model, *source, options.drift_samples));
  TakeReport(std::move(model), placed, summary);

  DS_ASSIGN_OR_RETURN(summary.quantized_bytes, Export(quantized, options));
  if (options.verify) DS_RETURN_IF_ERROR(CheckWrittenFile(*source, quantized, options, summary));
  DS_ASSIGN_OR_RETURN(const std::string reports, WriteReports(options.output, summary));
  if (options.print)
    std::cout << QuantizeSummaryTable(summary) << "\nwrote " << options.output << ", " << reports
              << std::endl;
  if (summary.runtime.faults.empty()) return summary;
  return absl::InternalError(absl::StrCat(
      options.output,
      " is written, but must not be used: ", absl::StrJoin(summary.runtime.faults, "; "),
      "; report it, and turn the runtime's ", "optimisations off (ORT_DISABLE_ALL) until then"));
}

}  // namespace ds
