#include "executor/graph_module.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "executor/kernel.h"
#include "executor/plan.h"

namespace ds {

namespace {

using executor::Call;
using executor::RunState;
using executor::Step;
using executor::ValueTable;

bool IsBatchNormStatistic(const NamedTensor& use) {
  return use.op == "BatchNormalization" && use.slot >= 3;
}

// A tensor of the module's own: fp32 (fp64 stays), convolution weights in channels_last.
at::Tensor MasterCopy(const Tensor& data) {
  const at::Tensor host = ToTorch(data);
  const at::ScalarType type = host.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const auto format =
      host.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
  return at::empty(host.sizes(), at::TensorOptions(type), format).copy_(host);
}

bool IsHalf(at::ScalarType type) { return type == at::kBFloat16 || type == at::kHalf; }

// What was computed in another precision than the model says, in the one it says.
at::Tensor WithType(const at::Tensor& value, DType declared) {
  if (declared == DType::kFloat32)
    return IsHalf(value.scalar_type()) ? value.to(at::kFloat) : value;
  const bool half = declared == DType::kFloat16 || declared == DType::kBFloat16;
  if (!half || !value.is_floating_point()) return value;
  return value.to(declared == DType::kFloat16 ? at::kHalf : at::kBFloat16);
}

std::string Describe(const at::Tensor& tensor) {
  if (!tensor.defined()) return "absent";
  return absl::StrCat(c10::toString(tensor.scalar_type()), ShapeString(tensor.sizes().vec()));
}

class TorchGraphModule : public GraphModule {
 public:
  explicit TorchGraphModule(Graph graph) : graph_(std::move(graph)) {}

  absl::Status Prepare(const GraphModuleOptions& options) {
    DS_ASSIGN_OR_RETURN(steps_, executor::MakePlan(graph_, options.visible));
    const size_t count = graph_.values().size();
    values_.full.resize(count);
    values_.low.resize(count);
    CollectUses();
    for (const auto& [id, initializer] : graph_.initializers()) {
      const Annotated where{graph_.value(id).name};
      DS_RETURN_IF_ERROR(where(executor::TorchType(initializer.data.dtype()).status()));
      AddInitializer(id, initializer);
    }
    FindForwardOrder();
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<at::Tensor>> Forward(const std::vector<at::Tensor>& inputs) override {
    DS_RETURN_IF_ERROR(BindInputs(inputs));
    absl::Status status = TransformInputs();
    for (const Step& step : steps_) {
      if (!status.ok()) break;
      status = RunStep(step);
    }
    std::vector<at::Tensor> outputs;
    if (status.ok()) outputs = Outputs();
    ForgetValues();
    if (!status.ok()) return status;
    return outputs;
  }

  void set_training(bool training) override { run_.training = training; }
  void set_norms_frozen(bool frozen) override { run_.norms_frozen = frozen; }
  void set_precision(Precision precision) override { run_.precision = precision; }
  Precision precision() const override { return run_.precision; }
  void set_dropout_key(uint64_t seed, uint64_t step, uint64_t rank) override {
    run_.dropout_key = {seed, step, rank};
  }
  void set_value_observer(ValueObserver observer) override { observer_ = std::move(observer); }
  void set_value_transform(ValueTransform transform) override { transform_ = std::move(transform); }
  const std::vector<NamedTensor>& parameters() const override { return parameters_; }
  const std::vector<NamedTensor>& buffers() const override { return buffers_; }
  void PutInRange() override {}
  const std::vector<int>& forward_order() const override { return forward_order_; }
  const Graph& graph() const override { return graph_; }

  Graph ExportGraph() const override {
    Graph out = graph_;
    for (const auto& [id, tensor] : owned_) {
      Tensor& data = out.mutable_initializers().at(id).data;
      const auto type = executor::TorchType(data.dtype());
      DS_CHECK(type.ok()) << type.status();
      auto host = FromTorch(tensor.detach().to(*type));
      DS_CHECK(host.ok()) << host.status();
      data = *std::move(host);
    }
    return out;
  }

 private:
  struct Annotated {
    std::string name;
    absl::Status operator()(const absl::Status& status) const {
      return status.ok() ? status : Annotate(status, absl::StrCat("initialiser '", name, "'"));
    }
  };

  // First reader of every value.
  void CollectUses() {
    first_use_.resize(graph_.values().size());
    for (const Node& node : graph_.nodes()) {
      for (size_t i = 0; i < node.inputs.size(); ++i) {
        if (node.inputs[i] == kNoValue) continue;
        NamedTensor& use = first_use_[static_cast<size_t>(node.inputs[i])];
        if (use.op.empty())
          use = {graph_.value(node.inputs[i]).name, {}, node.op, static_cast<int>(i)};
      }
    }
  }

  void AddInitializer(ValueId id, const Initializer& initializer) {
    NamedTensor use = first_use_[static_cast<size_t>(id)];
    at::Tensor& slot = values_.full[static_cast<size_t>(id)];
    // A weight that nothing reads would never have a gradient: it is kept as it is.
    const bool trains = initializer.trainable && !use.op.empty();
    if (!trains && !IsBatchNormStatistic(use)) {
      slot = ToTorch(initializer.data);
      return;
    }
    slot = MasterCopy(initializer.data);
    slot.set_requires_grad(trains);
    owned_.emplace_back(id, slot);
    use.tensor = slot;
    if (trains) parameter_index_[id] = static_cast<int>(parameters_.size());
    (trains ? parameters_ : buffers_).push_back(std::move(use));
  }

  void FindForwardOrder() {
    std::vector<bool> seen(parameters_.size(), false);
    for (const Step& step : steps_) {
      for (const ValueId id : step.inputs) {
        const auto found = parameter_index_.find(id);
        if (found == parameter_index_.end() || seen[static_cast<size_t>(found->second)]) continue;
        seen[static_cast<size_t>(found->second)] = true;
        forward_order_.push_back(found->second);
      }
    }
  }

  absl::Status CheckInput(ValueId id, const at::Tensor& tensor) const {
    const Value& value = graph_.value(id);
    DS_ASSIGN_OR_RETURN(const at::ScalarType type, executor::TorchType(value.dtype));
    bool fits = tensor.defined() && tensor.scalar_type() == type;
    if (fits && value.shape.has_value()) {
      fits = tensor.dim() == static_cast<int64_t>(value.shape->size());
      // The first extent is the batch, whatever the model was exported with.
      for (size_t i = 1; fits && i < value.shape->size(); ++i) {
        const int64_t extent = (*value.shape)[i];
        fits = extent == kDynamicDim || extent == tensor.size(static_cast<int64_t>(i));
      }
    }
    if (fits) return absl::OkStatus();
    std::string reader;
    for (const Node& node : graph_.nodes()) {
      for (const ValueId input : node.inputs) {
        if (input == id && reader.empty()) reader = node.name;
      }
    }
    return absl::InvalidArgumentError(absl::StrCat(
        "input '", value.name, "' (read by node '", reader, "') is ", Describe(tensor),
        " but the model takes ", c10::toString(type),
        value.shape.has_value() ? ShapeString(*value.shape) : std::string(" of any shape"),
        "; give it data of that type and shape, any batch size, or change the model's input"));
  }

  absl::Status BindInputs(const std::vector<at::Tensor>& inputs) {
    if (inputs.size() != graph_.inputs().size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the model '", graph_.name, "' takes ", graph_.inputs().size(),
                       " inputs but was given ", inputs.size(), "; pass one tensor for each"));
    }
    for (size_t i = 0; i < inputs.size(); ++i) {
      DS_RETURN_IF_ERROR(CheckInput(graph_.inputs()[i], inputs[i]));
    }
    for (size_t i = 0; i < inputs.size(); ++i) {
      values_.full[static_cast<size_t>(graph_.inputs()[i])] = inputs[i];
      if (observer_) observer_(graph_.inputs()[i], inputs[i]);
    }
    return absl::OkStatus();
  }

  // The transform's way with the pass's operands: inputs and parameters.
  absl::Status TransformInputs() {
    if (!transform_) return absl::OkStatus();
    try {
      for (const ValueId id : graph_.inputs()) Transform(id);
      for (const auto& [id, master] : owned_) {
        if (parameter_index_.contains(id)) Transform(id);
      }
    } catch (const c10::Error& error) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the transform of the model's operands failed: ", error.what_without_backtrace()));
    }
    return absl::OkStatus();
  }

  void Transform(ValueId id) {
    at::Tensor& value = values_.full[static_cast<size_t>(id)];
    if (at::Tensor changed = transform_(id, value); changed.defined()) value = std::move(changed);
  }

  absl::Status RunStep(const Step& step) {
    try {
      step.kernel(
          Call(run_, values_, step.inputs, step.outputs, step.is_weight, step.may_overwrite));
      if (observer_) Observe(step);
      if (transform_) {
        for (const ValueId id : step.outputs) {
          if (id != kNoValue) Transform(id);
        }
      }
    } catch (const c10::Error& error) {
      return StepError(step, error.what_without_backtrace());
    } catch (const std::exception& error) {
      return StepError(step, error.what());
    }
    for (const ValueId id : step.release) {
      values_.low[static_cast<size_t>(id)].reset();
      if (!graph_.IsInitializer(id)) values_.full[static_cast<size_t>(id)].reset();
    }
    return absl::OkStatus();
  }

  void Observe(const Step& step) const {
    for (const ValueId id : step.outputs) {
      if (id != kNoValue) observer_(id, values_.full[static_cast<size_t>(id)]);
    }
  }

  absl::Status StepError(const Step& step, const char* words) const {
    const Node& node = graph_.nodes()[static_cast<size_t>(step.node)];
    std::string operands;
    for (const ValueId id : step.inputs) {
      if (id == kNoValue) continue;
      absl::StrAppend(&operands, operands.empty() ? "" : ", ", graph_.value(id).name, " ",
                      Describe(values_.full[static_cast<size_t>(id)]));
    }
    return absl::InvalidArgumentError(
        absl::StrCat("node '", node.name, "' (", node.op, ") cannot run on ", operands, ": ", words,
                     "; check the model at that node and the shape of the data"));
  }

  std::vector<at::Tensor> Outputs() const {
    std::vector<at::Tensor> outputs;
    for (const ValueId id : graph_.outputs()) {
      const at::Tensor& value = values_.full[static_cast<size_t>(id)];
      // Losses are computed in fp32; only a model that says so gives less.
      outputs.push_back(WithType(value, graph_.value(id).dtype));
    }
    return outputs;
  }

  void ForgetValues() {
    for (size_t id = 0; id < values_.full.size(); ++id) {
      values_.low[id].reset();
      if (!graph_.IsInitializer(static_cast<ValueId>(id))) values_.full[id].reset();
    }
    for (const auto& [id, master] : owned_) values_.full[static_cast<size_t>(id)] = master;
  }

  Graph graph_;
  RunState run_;
  ValueObserver observer_;
  ValueTransform transform_;
  std::vector<Step> steps_;
  ValueTable values_;
  std::vector<NamedTensor> first_use_;
  std::vector<NamedTensor> parameters_;
  std::vector<NamedTensor> buffers_;
  std::map<ValueId, int> parameter_index_;
  std::vector<std::pair<ValueId, at::Tensor>> owned_;  // parameters and statistics
  std::vector<int> forward_order_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<GraphModule>> GraphModule::Create(
    Graph graph, const GraphModuleOptions& options) {
  auto module = std::make_unique<TorchGraphModule>(std::move(graph));
  DS_RETURN_IF_ERROR(module->Prepare(options));
  return module;
}

}  // namespace ds
