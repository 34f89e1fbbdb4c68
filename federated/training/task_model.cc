#include "federated/training/task_model.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/status.h"
#include "federated/model/graph_model.h"
#include "federated/training/model_vector.h"
#include "graph/onnx/onnx.h"
#include "graph/passes/dynamic_batch.h"
#include "graph/passes/passes.h"
#include "jobs/model_factory.h"
#include "jobs/train/quantized_training.h"

namespace ds::federated {
namespace {

constexpr float kStepUnit = 1.0f / 64;
constexpr float kZeroPointUnit = 1.0f / 4096;

QuantizerOptions PlanOptions(const QuantizationConfig& config) {
  QuantizerOptions options = config.quantizer.options;
  options.bias_correction = false;  // biases are trained
  options.for_training = true;
  return options;
}

absl::StatusOr<QuantPlan> MakePlan(const QuantizationConfig& config, const Graph& graph,
                                   const CalibrationData& data) {
  DS_ASSIGN_OR_RETURN(QuantizedModel calibrated,
                      Quantizer(graph, PlanOptions(config)).calibrate(data).convert());
  return std::move(calibrated.plan);
}

std::map<std::string, at::Tensor> StepTensors(const QatModule& module) {
  std::map<std::string, at::Tensor> tensors;
  for (const NamedTensor& parameter : module.parameters()) {
    if (parameter.op == "LearnedStep") tensors[parameter.name] = parameter.tensor;
  }
  for (const NamedTensor& buffer : module.buffers()) {
    if (buffer.op == "LearnedStep") tensors[buffer.name] = buffer.tensor;
  }
  return tensors;
}

// Random numbers that fit the model's input: they show a quantiser the structure of the model,
// without data.
CalibrationData RandomSamples(const Graph& graph, int64_t count, uint64_t seed) {
  const Value& input = graph.value(graph.inputs()[0]);
  Shape shape = input.shape.value_or(Shape{kDynamicDim});
  for (int64_t& extent : shape) extent = extent == kDynamicDim ? 1 : extent;
  const bool tokens = input.dtype == DType::kInt64;
  return
      [=, done = int64_t{0}]() mutable -> absl::StatusOr<std::optional<std::vector<at::Tensor>>> {
        if (done == count) return std::nullopt;
        CounterRandom random(seed, static_cast<uint64_t>(done++));
        at::Tensor sample = at::empty(shape, tokens ? at::kLong : at::kFloat);
        for (int64_t i = 0; i < sample.numel(); ++i) {
          // Tokens: the first two are in every vocabulary.
          if (tokens) {
            sample.data_ptr<int64_t>()[i] = random.NextBelow(2);
          } else {
            sample.data_ptr<float>()[i] = static_cast<float>(random.NextNormal());
          }
        }
        return std::vector<at::Tensor>{sample};
      };
}

// What is rounded and of which type; its scales mean nothing.
absl::StatusOr<QuantPlan> StructurePlan(const QuantizationConfig& config, const Graph& graph) {
  constexpr int64_t kSamples = 4;
  return MakePlan(config, graph, RandomSamples(graph, kSamples, /*seed=*/1));
}

absl::StatusOr<std::unique_ptr<QatModule>> Rounding(Graph graph, const QuantPlan& plan) {
  DS_RETURN_IF_ERROR(SplitGatedActivations(graph));
  DS_ASSIGN_OR_RETURN(const Graph folded, InferenceGraph(graph));
  return QatModule::Create(graph, folded, plan);
}

std::vector<ModelSlot> StepSlots(const QatModule& module) {
  std::vector<ModelSlot> slots;
  for (const auto& [name, tensor] : StepTensors(module))
    slots.push_back({name, tensor.numel(), SlotKind::kStatistic});
  return slots;
}

}  // namespace

absl::Status AddStepSlots(const FederatedTask& task, Graph& graph) {
  const QuantizationConfig& quantization = task.train.quantization;
  graph.metadata.erase(kExtraStatistics);  // of an earlier run's model
  if (quantization.mode != "qat") return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(const QuantPlan plan, StructurePlan(quantization, graph));
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<QatModule> module, Rounding(graph, plan));
  SetExtraStatistics(StepSlots(*module), graph);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<TaskModel>> TaskModel::Create(const FederatedTask& task,
                                                             const std::string& model_file,
                                                             const DatasetInfo* data) {
  auto model = std::unique_ptr<TaskModel>(new TaskModel(task));
  std::optional<Graph> graph;
  if (data != nullptr) {
    DS_ASSIGN_OR_RETURN(const ModelConfig as_it_is, ModelAsItIs(model_file, data->classes));
    DS_ASSIGN_OR_RETURN(graph, MakeModel(as_it_is, *data, /*seed=*/0));
  } else {
    DS_ASSIGN_OR_RETURN(graph, ImportOnnx(model_file));
    DS_RETURN_IF_ERROR(Annotate(MakeBatchDynamic(*graph), model_file));
  }
  DS_ASSIGN_OR_RETURN(GraphModel flat, MakeGraphModel(*std::move(graph)));
  model->layout_ = flat.layout;
  model->first_ = flat.Weights();
  DS_ASSIGN_OR_RETURN(model->float_, GraphModule::Create(std::move(flat.graph)));
  model->quantizes_ = task.train.quantization.mode == "qat";
  if (model->quantizes_) DS_RETURN_IF_ERROR(Annotate(model->CheckSteps(), model_file));
  return model;
}

// The file's step slots must be those that this task's rounding has here.
absl::Status TaskModel::CheckSteps() {
  const Graph graph = float_->ExportGraph();
  DS_ASSIGN_OR_RETURN(plan_, StructurePlan(task_.train.quantization, graph));
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<QatModule> module, Rounding(graph, plan_));
  const std::vector<ModelSlot> wanted = StepSlots(*module);
  bool fits = layout_.slots.size() > wanted.size();
  const size_t first = fits ? layout_.slots.size() - wanted.size() : 0;
  for (size_t i = 0; fits && i < wanted.size(); ++i) {
    const ModelSlot& slot = layout_.slots[first + i];
    fits = slot.name == wanted[i].name && slot.count == wanted[i].count;
  }
  if (!fits) {
    return absl::InvalidArgumentError(
        "the model has not the steps that this task's quantization.mode qat trains; it must be "
        "made with the same task and program version");
  }
  own_ = layout_.size();
  for (const ModelSlot& slot : wanted) own_ -= slot.count;
  return absl::OkStatus();
}

bool TaskModel::Calibrated(absl::Span<const float> weights) const {
  const absl::Span<const float> steps = weights.subspan(static_cast<size_t>(own_));
  return std::any_of(steps.begin(), steps.end(), [](float step) { return step != 0; });
}

void TaskModel::StoreSteps(const QatModule& module, absl::Span<float> weights) const {
  const std::map<std::string, at::Tensor> tensors = StepTensors(module);
  int64_t offset = 0;
  for (const ModelSlot& slot : layout_.slots) {
    if (const auto found = tensors.find(slot.name); found != tensors.end()) {
      const at::Tensor& tensor = found->second;
      for (int64_t k = 0; k < slot.count; ++k) {
        weights[static_cast<size_t>(offset + k)] =
            tensor.scalar_type() == at::kInt
                ? static_cast<float>(tensor.const_data_ptr<int32_t>()[k]) * kZeroPointUnit
                : std::log2(std::max(tensor.const_data_ptr<float>()[k], QatModule::kLeastStep)) *
                      kStepUnit;
      }
    }
    offset += slot.count;
  }
}

void TaskModel::LoadSteps(absl::Span<const float> weights, const QatModule& module) const {
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> tensors = StepTensors(module);
  int64_t offset = 0;
  for (const ModelSlot& slot : layout_.slots) {
    if (const auto found = tensors.find(slot.name); found != tensors.end()) {
      at::Tensor& tensor = found->second;
      for (int64_t k = 0; k < slot.count; ++k) {
        const float value = weights[static_cast<size_t>(offset + k)];
        if (tensor.scalar_type() == at::kInt) {
          constexpr float kGreatestCode = 255;
          tensor.data_ptr<int32_t>()[k] = static_cast<int32_t>(
              std::lround(std::clamp(value / kZeroPointUnit, -kGreatestCode, kGreatestCode)));
        } else {
          tensor.data_ptr<float>()[k] = std::exp2(value / kStepUnit);
        }
      }
    }
    offset += slot.count;
  }
}

absl::StatusOr<GraphModule*> TaskModel::Load(absl::Span<const float> weights, bool rounding) {
  rounding_.reset();
  Scatter(weights, layout_, *float_);
  if (!rounding) return float_.get();
  // Anew in each round: folding turns channels of negative gamma, and an update may make one so.
  DS_ASSIGN_OR_RETURN(rounding_, Rounding(float_->ExportGraph(), plan_));
  LoadSteps(weights, *rounding_);
  rounding_->PutInRange();
  return static_cast<GraphModule*>(rounding_.get());
}

void TaskModel::Store(absl::Span<float> weights) const {
  if (rounding_ == nullptr) return Gather(*float_, layout_, weights);
  Gather(*rounding_, layout_, weights);
  StoreSteps(*rounding_, weights);
}

absl::Status TaskModel::Calibrate(const CalibrationData& data, absl::Span<float> weights) const {
  const Graph graph = float_->ExportGraph();
  DS_ASSIGN_OR_RETURN(const QuantPlan plan, MakePlan(task_.train.quantization, graph, data));
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<QatModule> module, Rounding(graph, plan));
  StoreSteps(*module, weights);
  return absl::OkStatus();
}

}  // namespace ds::federated
