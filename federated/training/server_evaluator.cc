#include "federated/training/server_evaluator.h"

#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/tensor/safetensors.h"
#include "deploy/onnx_exporter.h"
#include "federated/training/task_model.h"
#include "graph/finite_weights.h"
#include "graph/onnx/onnx.h"
#include "graph/passes/dynamic_batch.h"
#include "jobs/compute_threads.h"
#include "jobs/data/data_setup.h"
#include "jobs/model_factory.h"
#include "jobs/train/quantized_training.h"
#include "trainer/evaluate.h"

namespace ds::federated {
namespace {

// What the model section says of samples that are not here.
absl::StatusOr<DatasetInfo> InfoOf(const ModelConfig& model) {
  const ModelOptions& options = model.options;
  const bool text = options.sequence_length > 0;
  if (options.classes == 0 ||
      (!text && (options.channels == 0 || options.height == 0 || options.width == 0))) {
    return absl::InvalidArgumentError(
        "there is no data at the server to size the model by: set model.channels, height, width "
        "and classes (text: sequence_length and classes) in the task, or give model.onnx");
  }
  DatasetInfo info;
  info.kind = text ? SampleKind::kText : SampleKind::kImage;
  info.channels = options.channels;
  info.height = options.height;
  info.width = options.width;
  info.sequence_length = options.sequence_length;
  info.classes = options.classes;
  return info;
}

absl::StatusOr<Graph> FirstModel(const TrainConfig& train, const DatasetInfo* data) {
  if (data != nullptr) return MakeModel(train.model, *data, train.run.seed);
  if (!train.model.onnx.empty()) {
    DS_ASSIGN_OR_RETURN(Graph graph, ImportOnnx(train.model.onnx));
    DS_RETURN_IF_ERROR(Annotate(MakeBatchDynamic(graph), train.model.onnx));
    DS_RETURN_IF_ERROR(Annotate(CheckFiniteWeights(graph), train.model.onnx));
    return graph;
  }
  DS_ASSIGN_OR_RETURN(const DatasetInfo info, InfoOf(train.model));
  return MakeModel(train.model, info, train.run.seed);
}

class TorchEvaluator final : public ServerEvaluator {
 public:
  static absl::StatusOr<std::unique_ptr<ServerEvaluator>> Create(const RunOffer& offer,
                                                                 const std::string& model_file,
                                                                 const TrainConfig& config) {
    auto evaluator = std::unique_ptr<TorchEvaluator>(new TorchEvaluator());
    DS_ASSIGN_OR_RETURN(evaluator->task_, ParseTask(offer.task, offer.options.round.rounds));
    evaluator->config_ = OnSite(evaluator->task_, config);
    absl::StatusOr<DataSplits> splits = OpenSplits(evaluator->config_);
    if (!splits.ok() && !absl::IsNotFound(splits.status())) return splits.status();
    const DatasetInfo* info = nullptr;
    if (splits.ok()) {
      evaluator->splits_ = *std::move(splits);
      info = &evaluator->splits_.test->info();
      DS_ASSIGN_OR_RETURN(evaluator->loader_,
                          MakeLoader(evaluator->config_, evaluator->splits_.test, DataUse::kTest));
    }
    DS_ASSIGN_OR_RETURN(evaluator->model_, TaskModel::Create(evaluator->task_, model_file, info));
    DS_ASSIGN_OR_RETURN(evaluator->loss_,
                        Loss::ForModel(evaluator->task_.train.loss, evaluator->model_->graph()));
    evaluator->first_ = {.layout = evaluator->model_->layout(),
                         .weights = evaluator->model_->first_weights()};
    return evaluator;
  }

  const LocalModel& model() const override { return first_; }
  bool has_data() const override { return loader_ != nullptr; }

  absl::StatusOr<SiteMetrics> Evaluate(int64_t round, absl::Span<const float> weights) override {
    DS_RETURN_IF_ERROR(CheckSize(weights));
    if (!has_data()) return absl::FailedPreconditionError("there is no test split at the server");
    UseThreads(config_.run.threads);
    const bool rounding = model_->quantized() && model_->Calibrated(weights) &&
                          round > task_.train.quantization.start_epoch;
    DS_ASSIGN_OR_RETURN(GraphModule * module, model_->Load(weights, rounding));
    DS_ASSIGN_OR_RETURN(const EvaluationSums sums, SumEvaluation(*module, *loss_, *loader_));
    DS_ASSIGN_OR_RETURN(const Evaluation mean, sums.Mean());
    SiteMetrics metrics;
    metrics.evaluated = mean.samples;
    metrics.correct = static_cast<int64_t>(sums.hits);
    metrics.evaluation_loss = mean.loss;
    return metrics;
  }

  absl::StatusOr<std::vector<QuantizedExport>> WriteModels(absl::Span<const float> weights,
                                                           const std::string& folder) override {
    DS_RETURN_IF_ERROR(CheckSize(weights));
    UseThreads(config_.run.threads);
    DS_ASSIGN_OR_RETURN(GraphModule * module, model_->Load(weights, /*rounding=*/false));
    const Graph graph = module->ExportGraph();
    DS_RETURN_IF_ERROR(Annotate(CheckFiniteWeights(graph), "writing the model"));
    const std::string onnx = absl::StrCat(folder, "/model.onnx");
    TensorMap tensors;
    for (const auto& [id, initializer] : graph.initializers())
      tensors[graph.value(id).name] = initializer.data;
    DS_RETURN_IF_ERROR(WriteSafetensors(absl::StrCat(folder, "/model.safetensors"), tensors, {}));
    DS_RETURN_IF_ERROR(ExportOnnx(graph, onnx));
    if (model_->quantized()) return WriteTrained(weights, folder);
    if (task_.train.quantization.mode != "ptq" || !has_data())
      return std::vector<QuantizedExport>();
    return ExportCalibrated(config_, splits_, onnx, folder);
  }

 private:
  TorchEvaluator() = default;

  absl::Status CheckSize(absl::Span<const float> weights) const {
    if (weights.size() == first_.weights.size()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(weights.size(), " weights for a model of ", first_.weights.size()));
  }

  // The model with the rounding that it was trained with.
  absl::StatusOr<std::vector<QuantizedExport>> WriteTrained(absl::Span<const float> weights,
                                                            const std::string& folder) {
    if (!model_->Calibrated(weights)) return std::vector<QuantizedExport>();
    DS_RETURN_IF_ERROR(model_->Load(weights, /*rounding=*/true).status());
    const QatModule& module = *model_->rounding();
    const QuantizerOptions& bits = task_.train.quantization.quantizer.options;
    const std::string file = ExportName(bits.bits, bits.activation_bits);
    const std::string path = absl::StrCat(folder, "/", file);
    DS_RETURN_IF_ERROR(OnnxExporter().Export(module.ExportGraph(), module.Plan(), path).status());
    if (has_data()) {
      DS_ASSIGN_OR_RETURN(QuantizedExport measured,
                          MeasureExport(config_, splits_, folder, bits.bits, bits.activation_bits));
      return std::vector<QuantizedExport>{std::move(measured)};
    }
    return std::vector<QuantizedExport>{{.file = file,
                                         .bits = bits.bits,
                                         .activation_bits = bits.activation_bits,
                                         .accuracy = std::numeric_limits<double>::quiet_NaN()}};
  }

  FederatedTask task_;
  TrainConfig config_;
  DataSplits splits_;
  std::unique_ptr<DataLoader> loader_;
  std::unique_ptr<TaskModel> model_;
  std::optional<Loss> loss_;
  LocalModel first_;
};

}  // namespace

absl::StatusOr<std::string> WriteOffer(const FederatedTask& task, const std::string& model_file) {
  FederatedTask offered = task;
  TrainConfig& train = offered.train;
  const absl::StatusOr<DataSplits> splits = OpenSplits(train);
  if (!splits.ok() && !absl::IsNotFound(splits.status())) return splits.status();
  DS_ASSIGN_OR_RETURN(Graph graph,
                      FirstModel(train, splits.ok() ? &splits->train->info() : nullptr));
  DS_RETURN_IF_ERROR(AddStepSlots(offered, graph));
  DS_RETURN_IF_ERROR(ExportOnnx(graph, model_file));
  return OfferedTask(offered);
}

absl::StatusOr<std::unique_ptr<ServerEvaluator>> MakeServerEvaluator(const RunOffer& offer,
                                                                     const std::string& model_file,
                                                                     const TrainConfig& config) {
  return TorchEvaluator::Create(offer, model_file, config);
}

}  // namespace ds::federated
