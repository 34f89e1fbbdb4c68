#include "trainer/quantize_job.h"

#include <iostream>
#include <memory>
#include <utility>

#include "ATen/core/grad_mode.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/status.h"
#include "deploy/onnx_exporter.h"
#include "deploy/trt_exporter.h"
#include "graph/onnx/onnx.h"
#include "trainer/data_setup.h"
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

// For MakeModel, which would give a network with other classes than the data's a new classifier, as fine-tuning wants it.
absl::StatusOr<ModelConfig> ModelAsItIs(const std::string& path, int64_t data_classes) {
  DS_ASSIGN_OR_RETURN(const Graph graph, ImportOnnx(path));
  ModelConfig model = {.onnx = path};
  if (graph.inputs().size() != 1) {
    return absl::InvalidArgumentError(absl::StrCat("model ", path, " has ", graph.inputs().size(), " inputs; only one can be calibrated"));
  }
  if (graph.outputs().empty()) return model;
  const auto& shape = graph.value(graph.outputs()[0]).shape;
  if (!shape || shape->empty() || shape->back() == kDynamicDim) return model;
  model.classes = shape->back();
  if (model.classes >= data_classes) return model;
  return absl::InvalidArgumentError(absl::StrCat("model ", path, " tells ", model.classes, " classes apart, the data has ", data_classes,
                                                 "; give the data that it was trained on"));
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
  const at::NoGradGuard no_grad;
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<GraphModule> module, GraphModule::Create(graph));
  DS_ASSIGN_OR_RETURN(const Loss loss, Loss::Create({}));
  int64_t hits = 0, count = 0;
  DS_RETURN_IF_ERROR(loader.StartEpoch(0));
  while (true) {
    DS_ASSIGN_OR_RETURN(const std::optional<Batch> batch, loader.Next());
    if (!batch.has_value()) break;
    if (batch->size() == 0) continue;
    DS_ASSIGN_OR_RETURN(const std::vector<at::Tensor> outputs, module->Forward({InputsToTorch(*batch)}));
    DS_ASSIGN_OR_RETURN(const LossResult result, loss(outputs[0], LabelsToTorch(*batch)));
    hits += result.correct.item<int64_t>();
    count += result.count;
  }
  if (count == 0) return absl::InvalidArgumentError("the test set is empty: nothing to evaluate");
  return static_cast<double>(hits) / static_cast<double>(count);
}

// Writes the file, and for TensorRT what goes with it; its bytes.
absl::StatusOr<int64_t> Export(const QuantizedModel& model, const QuantizeJobOptions& options) {
  if (options.qdq.profile == QdqProfile::kOnnxRuntime) {
    DS_ASSIGN_OR_RETURN(const OnnxExportResult exported, OnnxExporter({.qdq = options.qdq}).Export(model.graph, model.plan, options.output));
    return exported.bytes;
  }
  DS_ASSIGN_OR_RETURN(const TensorRTExportResult exported, TensorRTExporter().Export(model.graph, model.plan, options.output));
  const TrtBuild build = RunTrtRecipe(exported.recipe_path, absl::StrCat(absl::StripSuffix(options.output, kSuffix), ".trtexec.log"));
  if (options.print) std::cout << "wrote " << exported.recipe_path << " and " << exported.lint_path << "\nTensorRT: " << build.message << "\n";
  return exported.bytes;
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
  DS_ASSIGN_OR_RETURN(config.model, ModelAsItIs(options.model, splits.train->info().classes));
  DS_ASSIGN_OR_RETURN(const Graph graph, MakeModel(config.model, splits.train->info(), config.run.seed));
  DS_ASSIGN_OR_RETURN(summary.float_accuracy, Accuracy(graph, *test));

  DS_RETURN_IF_ERROR(calibration->StartEpoch(0));
  DS_ASSIGN_OR_RETURN(QuantizedModel model,
                      Quantizer(graph, options.quantizer).calibrate(FirstSamples(*calibration, options.samples)).convert());
  QdqReport placed;
  DS_ASSIGN_OR_RETURN(const Graph quantized, InsertQdq(model.graph, model.plan, options.qdq, &placed));
  DS_ASSIGN_OR_RETURN(summary.quantized_accuracy, Accuracy(quantized, *test));
  DS_ASSIGN_OR_RETURN(const std::string float_file, ExportOnnxToBytes(model.graph));
  summary.float_bytes = static_cast<int64_t>(float_file.size());
  summary.layers = std::move(model.layers);
  summary.activations = std::move(model.activations);
  summary.warnings = std::move(model.warnings);
  for (const NodeFate& fate : placed.nodes) {
    if (!fate.quantised) summary.warnings.push_back(absl::StrCat("node \"", fate.node, "\" (", fate.op, ") stays float: ", fate.reason));
  }

  DS_ASSIGN_OR_RETURN(summary.quantized_bytes, Export(model, options));
  const std::string report = absl::StrCat(absl::StripSuffix(options.output, kSuffix), ".json");
  DS_RETURN_IF_ERROR(WriteFileAtomically(report, QuantizeSummaryJson(summary)));
  if (options.print) std::cout << QuantizeSummaryTable(summary) << "\nwrote " << options.output << " and " << report << std::endl;
  return summary;
}

}  // namespace ds
