#include "jobs/train/quantized_training.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "comm/while_others_wait.h"
#include "deploy/onnx_exporter.h"
#include "graph/onnx/onnx.h"
#include "graph/passes/passes.h"
#include "jobs/calibration_samples.h"
#include "jobs/graph_evaluation.h"
#include "jobs/train/plan_exchange.h"
#include "quant/torch/quantizer.h"
#include "trainer/qat/distillation.h"

namespace ds {
namespace {

QuantizerOptions WithBits(QuantizerOptions options, const QatBits& bits) {
  options.bits = bits.weights;
  options.activation_bits = bits.activations;
  options.end_bits = bits.end;
  options.sum_bits = bits.sums;
  return options;
}

absl::StatusOr<QuantizedModel> Calibrate(const TrainConfig& config, const Graph& graph,
                                         const DataSplits& splits,
                                         const QuantizerOptions& options) {
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<DataLoader> loader,
                      MakeLoader(config, splits.train, DataUse::kCalibrate));
  DS_RETURN_IF_ERROR(loader->StartEpoch(0));
  return Quantizer(graph, options)
      .calibrate(FirstSamples(*loader, graph, config.quantization.quantizer.samples))
      .convert();
}

absl::StatusOr<QuantPlan> CalibratedPlan(const TrainConfig& config, const Graph& graph,
                                         const DataSplits& splits, const QatBits& bits) {
  QuantizerOptions options = WithBits(config.quantization.quantizer.options, bits);
  options.bias_correction = false;  // biases are trained
  options.for_training = true;
  DS_ASSIGN_OR_RETURN(QuantizedModel calibrated, Calibrate(config, graph, splits, options));
  return std::move(calibrated.plan);
}

absl::StatusOr<double> FileAccuracy(const TrainConfig& config, const DataSplits& splits,
                                    const std::string& path) {
  DS_ASSIGN_OR_RETURN(const Graph graph, ImportOnnx(path));
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<DataLoader> loader,
                      MakeLoader(config, splits.test, DataUse::kTest));
  DS_ASSIGN_OR_RETURN(const Evaluation measured, EvaluateGraph(graph, config.loss, *loader));
  return measured.metric();
}

QatBits MakeBits(const QuantizationConfig& config, int weights, int activations) {
  return {.weights = weights,
          .activations = activations,
          .end = config.quantizer.options.end_bits,
          .sums = config.quantizer.options.sum_bits};
}

std::vector<QatBits> AskedFor(const QuantizationConfig& config) {
  std::vector<QatBits> list;
  for (const std::string& name : config.exports) {
    // "w4a8", checked when the configuration was read.
    list.push_back(MakeBits(config, name[1] - '0', name[3] - '0'));
  }
  if (list.empty()) list.push_back(StageAt(config, 0).bits);
  return list;
}

}  // namespace

QatStage StageAt(const QuantizationConfig& config, int64_t epochs) {
  const QuantizerOptions& last = config.quantizer.options;
  QatStage stage = {.bits = MakeBits(config, last.bits, last.activation_bits), .last = true};
  for (size_t i = 0; i < config.stage_bits.size(); ++i) {
    if (epochs >= config.stage_epochs[i]) continue;
    const int bits = static_cast<int>(config.stage_bits[i]);
    stage.bits.weights = std::max(stage.bits.weights, bits);
    stage.bits.activations = std::max(stage.bits.activations, bits);
    stage.last = false;
    break;
  }
  return stage;
}

std::string ExportName(int64_t bits, int64_t activation_bits) {
  return absl::StrCat("model-w", bits, "a", activation_bits, ".onnx");
}

absl::StatusOr<QatModule*> StartQuantizedTraining(const TrainConfig& config,
                                                  const JobSetupOptions& options,
                                                  GraphModule& float_model,
                                                  Communicator& communicator, JobObjects& job) {
  const QuantizationConfig& quantization = config.quantization;
  const QatBits bits = StageAt(quantization, job.trainer->epoch()).bits;
  Graph graph = float_model.ExportGraph();
  DS_RETURN_IF_ERROR(SplitGatedActivations(graph));
  QuantPlan plan;
  DS_RETURN_IF_ERROR(
      WhileOthersWait(communicator, /*worker=*/0, "calibrate the model", [&]() -> absl::Status {
        DS_ASSIGN_OR_RETURN(plan, CalibratedPlan(config, graph, job.splits, bits));
        return absl::OkStatus();
      }));
  DS_ASSIGN_OR_RETURN(plan, PlanOfRankZero(plan, communicator));
  DS_ASSIGN_OR_RETURN(const Graph folded, InferenceGraph(graph));
  DS_ASSIGN_OR_RETURN(std::unique_ptr<QatModule> module, QatModule::Create(graph, folded, plan));
  QatModule* const model = module.get();
  Objective objective;
  if (quantization.distillation.weight > 0) {
    DS_ASSIGN_OR_RETURN(const Loss of_model, Loss::ForModel(config.loss, graph));
    // Pixels have their classes behind the sample, all others last.
    const auto to_logits = [of_model](const at::Tensor& output) {
      const at::Tensor logits = of_model.Logits(output);
      return logits.dim() >= 4 ? logits.movedim(1, -1) : logits;
    };
    Distillation distillation(float_model, quantization.distillation, to_logits);
    objective = [distillation, model](const std::vector<at::Tensor>& inputs,
                                      const at::Tensor& output, const at::Tensor& loss) mutable {
      return distillation(inputs, output, loss, model->precision());
    };
  }
  DS_RETURN_IF_ERROR(
      ReplaceModel(config, options, std::move(module), std::move(objective), communicator, job));
  return model;
}

absl::StatusOr<std::vector<QuantizedExport>> ExportCalibrated(const TrainConfig& config,
                                                              const DataSplits& splits,
                                                              const std::string& model,
                                                              const std::string& folder) {
  DS_ASSIGN_OR_RETURN(const Graph graph, ImportOnnx(model));
  std::vector<QuantizedExport> exports;
  for (const QatBits& bits : AskedFor(config.quantization)) {
    DS_ASSIGN_OR_RETURN(
        const QuantizedModel quantized,
        Calibrate(config, graph, splits, WithBits(config.quantization.quantizer.options, bits)));
    const std::string path = absl::StrCat(folder, "/", ExportName(bits.weights, bits.activations));
    DS_RETURN_IF_ERROR(OnnxExporter().Export(quantized.graph, quantized.plan, path).status());
    DS_ASSIGN_OR_RETURN(QuantizedExport measured,
                        MeasureExport(config, splits, folder, bits.weights, bits.activations));
    exports.push_back(std::move(measured));
  }
  return exports;
}

absl::StatusOr<QuantizedExport> MeasureExport(const TrainConfig& config, const DataSplits& splits,
                                              const std::string& folder, int64_t bits,
                                              int64_t activation_bits) {
  QuantizedExport measured;
  measured.file = ExportName(bits, activation_bits);
  measured.bits = static_cast<int>(bits);
  measured.activation_bits = static_cast<int>(activation_bits);
  const std::string path = absl::StrCat(folder, "/", measured.file);
  DS_ASSIGN_OR_RETURN(measured.accuracy, FileAccuracy(config, splits, path));
  std::error_code error;
  measured.bytes = static_cast<int64_t>(std::filesystem::file_size(path, error));
  if (error) return absl::NotFoundError(absl::StrCat(path, ": ", error.message()));
  return measured;
}

}  // namespace ds
