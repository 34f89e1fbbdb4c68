#include "quant/torch/reconstruction/unit_runner.h"

#include <utility>

#include "base/status.h"

namespace ds {

absl::StatusOr<UnitRunner> UnitRunner::Create(const Graph& graph, const ReconstructionUnit& unit,
                                              const std::set<ValueId>& open) {
  UnitRunner runner;
  runner.outputs_ = unit.outputs;
  for (const int n : unit.nodes) {
    Node node = graph.nodes()[static_cast<size_t>(n)];
    Graph alone;
    alone.name = node.name;
    Step step;
    std::map<ValueId, ValueId> inside;
    for (ValueId& id : node.inputs) {
      if (id == kNoValue) continue;
      const auto [known, is_new] = inside.try_emplace(id, kNoValue);
      if (is_new) {
        const Value& value = graph.value(id);
        const Tensor* constant = graph.Constant(id);
        if (constant != nullptr && !open.contains(id)) {
          known->second = alone.AddInitializer(value.name, *constant, false);
        } else {
          known->second = alone.AddInput(value.name, value.dtype, value.shape.value_or(Shape{}));
          if (!value.shape.has_value()) alone.mutable_value(known->second).shape.reset();
          step.inputs.push_back(id);
        }
      }
      id = known->second;
    }
    for (ValueId& id : node.outputs) {
      if (id == kNoValue) continue;
      step.outputs.push_back(id);
      id = alone.AddValue(graph.value(id).name, graph.value(id).dtype);
      alone.MarkOutput(id);
    }
    alone.AddNode(std::move(node));
    DS_ASSIGN_OR_RETURN(step.module, GraphModule::Create(std::move(alone)));
    runner.steps_.push_back(std::move(step));
  }
  return runner;
}

absl::StatusOr<ValueMap> UnitRunner::Run(ValueMap values, const Change& change) const {
  ValueMap made;
  for (const Step& step : steps_) {
    std::vector<at::Tensor> inputs;
    for (const ValueId id : step.inputs) inputs.push_back(values.at(id));
    DS_ASSIGN_OR_RETURN(const std::vector<at::Tensor> outputs, step.module->Forward(inputs));
    for (size_t i = 0; i < outputs.size(); ++i) {
      made[step.outputs[i]] = outputs[i];
      values[step.outputs[i]] = change ? change(step.outputs[i], outputs[i]) : outputs[i];
    }
  }
  ValueMap results;
  for (const ValueId id : outputs_) results[id] = made.at(id);
  return results;
}

}  // namespace ds
