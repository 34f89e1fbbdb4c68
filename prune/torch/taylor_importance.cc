#include "prune/torch/taylor_importance.h"

#include <cmath>
#include <memory>
#include <set>
#include <string>

#include "ATen/Functions.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "executor/graph_module.h"

namespace ds {
namespace {

// A gate: parameters whose product with their gradients, summed over all axes but one, is the loss'
// derivative.
struct Gate {
  std::string name;  // of the weight or the scale
  at::Tensor weight;
  int64_t axis = 0;
  at::Tensor bias;  // may be undefined
};

class Gates {
 public:
  explicit Gates(const GraphModule& module) : graph_(module.graph()) {
    for (const NamedTensor& parameter : module.parameters())
      parameters_[parameter.name] = parameter.tensor;
    for (const Node& node : graph_.nodes()) {
      if (node.op == "BatchNormalization") normalised_.insert(node.inputs[0]);
    }
    for (const Node& node : graph_.nodes()) Add(node);
  }

  const std::vector<Gate>& gates() const { return gates_; }

 private:
  at::Tensor Parameter(const Node& node, size_t input) const {
    if (input >= node.inputs.size() || node.inputs[input] == kNoValue) return {};
    const auto found = parameters_.find(graph_.value(node.inputs[input]).name);
    return found == parameters_.end() ? at::Tensor() : found->second;
  }

  void Add(const Node& node) {
    const bool norm = node.op == "BatchNormalization";
    const bool layer = node.op == "Conv" || node.op == "Gemm" || node.op == "MatMul";
    if (!norm && (!layer || normalised_.contains(node.outputs[0]))) return;
    Gate gate{.weight = Parameter(node, 1)};
    if (!gate.weight.defined()) return;
    gate.name = graph_.value(node.inputs[1]).name;
    if (node.op == "Gemm" && node.GetInt("transB", 0) == 0) gate.axis = 1;
    if (node.op == "MatMul") gate.axis = gate.weight.dim() - 1;
    gate.bias = Parameter(node, 2);
    // A Gemm's addend may be of another shape.
    const bool fits = gate.bias.defined() && gate.bias.dim() == 1 &&
                      gate.bias.size(0) == gate.weight.size(gate.axis);
    if (!fits) gate.bias = at::Tensor();
    gates_.push_back(std::move(gate));
  }

  const Graph& graph_;
  absl::flat_hash_map<std::string, at::Tensor> parameters_;
  std::set<ValueId> normalised_;
  std::vector<Gate> gates_;
};

// The loss' derivative by the gates of all channels.
at::Tensor Derivative(const Gate& gate) {
  const at::Tensor product = gate.weight.detach() * gate.weight.grad();
  at::Tensor sum = product.transpose(0, gate.axis)
                       .reshape({product.size(gate.axis), -1})
                       .sum(1, false, at::kDouble);
  if (gate.bias.defined() && gate.bias.grad().defined())
    sum = sum + gate.bias.detach() * gate.bias.grad();
  return sum;
}

absl::Status BackPropagate(GraphModule& module, const LabelledBatch& batch,
                           const LossFunction& loss) {
  for (const NamedTensor& parameter : module.parameters()) parameter.tensor.mutable_grad().reset();
  DS_ASSIGN_OR_RETURN(const std::vector<at::Tensor> outputs, module.Forward(batch.inputs));
  if (outputs.empty()) return absl::InvalidArgumentError("the model has no output");
  DS_ASSIGN_OR_RETURN(const at::Tensor value, loss(outputs[0], batch.labels));
  if (!std::isfinite(value.item<double>())) {
    return absl::InvalidArgumentError(
        "importance: the loss is not finite; look at the data and at the model's weights");
  }
  try {
    value.backward();
  } catch (const std::exception& error) {
    return absl::InternalError(
        absl::StrCat("importance: the backward pass failed: ", error.what()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ChannelImportance> TaylorImportance(const Graph& graph,
                                                   const LabelledBatches& batches,
                                                   const LossFunction& loss) {
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<GraphModule> module, GraphModule::Create(graph));
  const Gates gates(*module);
  ChannelImportance importance;
  int64_t count = 0;
  for (;; ++count) {
    DS_ASSIGN_OR_RETURN(const std::optional<LabelledBatch> batch, batches());
    if (!batch.has_value()) break;
    DS_RETURN_IF_ERROR(BackPropagate(*module, *batch, loss));
    for (const Gate& gate : gates.gates()) {
      std::vector<double>& sums = importance[gate.name];
      sums.resize(static_cast<size_t>(gate.weight.size(gate.axis)), 0.0);
      if (!gate.weight.grad().defined()) continue;
      const at::Tensor derivative = Derivative(gate).contiguous();
      for (size_t i = 0; i < sums.size(); ++i)
        sums[i] += std::pow(derivative.data_ptr<double>()[i], 2);
    }
  }
  if (count == 0) return absl::InvalidArgumentError("importance: there is no batch of data");
  for (auto& [name, sums] : importance) {
    for (double& sum : sums) sum /= static_cast<double>(count);
  }
  return importance;
}

}  // namespace ds
