#include "deploy/qdq/check.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "deploy/qdq/placement.h"
#include "graph/passes/uses.h"

namespace ds::qdq {
namespace {

absl::Status Absent(const Graph& graph, absl::string_view what, const std::string& name) {
  return absl::InvalidArgumentError(absl::StrCat("the plan names ", std::string(what), " '", name,
                                                 "', which the graph '", graph.name,
                                                 "' does not have; make the plan from this graph"));
}

absl::Status CheckActivation(const Graph& graph, const Uses& uses, const std::string& name,
                             const QuantParams& params) {
  const ValueId id = graph.FindValue(name);
  if (id == kNoValue) return Absent(graph, "the value", name);
  if (graph.IsInitializer(id)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the plan has '", name,
                     "' among its activations, but it is a constant; weights go to "
                     "'weights', other constants stay as they are"));
  }
  const bool is_input =
      std::find(graph.inputs().begin(), graph.inputs().end(), id) != graph.inputs().end();
  // A pass (batch norm folding, say) leaves the names of values behind that are no more.
  if (!is_input && uses.ProducerIndex(id) < 0) return Absent(graph, "the value", name);
  const Value& value = graph.value(id);
  if (value.dtype != DType::kFloat32) {
    return absl::InvalidArgumentError(absl::StrCat("the plan quantises '", name, "', which is ",
                                                   std::string(Name(value.dtype)),
                                                   "; only float32 can be quantised"));
  }
  if (params.axis != QuantParams::kWholeTensor) {
    return absl::InvalidArgumentError(
        absl::StrCat("the plan has scales along axis ", params.axis, " for the activation '", name,
                     "'; activations have one scale for the whole tensor"));
  }
  // One scale fits any shape, also one that is not known yet.
  return Annotate(CheckParams(params, {}),
                  absl::StrCat("the plan for the activation '", name, "'"));
}

absl::Status CheckWeight(const Graph& graph, const std::string& name, const QuantParams& params) {
  const ValueId id = graph.FindValue(name);
  if (id == kNoValue) return Absent(graph, "the weight", name);
  const Tensor* weight = graph.Constant(id);
  if (weight == nullptr || weight->dtype() != DType::kFloat32) {
    return absl::InvalidArgumentError(absl::StrCat("the plan has '", name,
                                                   "' among its weights, "
                                                   "but it is no float32 initialiser"));
  }
  bool read = false;
  for (const Node& node : graph.nodes()) {
    for (const int slot : WeightSlots(node)) read = read || node.inputs[slot] == id;
  }
  if (!read) {
    return absl::InvalidArgumentError(
        absl::StrCat("the plan has '", name,
                     "' among its weights, but no Conv, Gemm or MatMul multiplies by it"));
  }
  return Annotate(CheckParams(params, weight->shape()),
                  absl::StrCat("the plan for the weight '", name, "'"));
}

absl::Status CheckConstant(const Graph& graph, const std::string& name, const QuantParams& params) {
  const ValueId id = graph.FindValue(name);
  if (id == kNoValue) return Absent(graph, "the constant", name);
  const Tensor* constant = graph.Constant(id);
  if (constant == nullptr || constant->dtype() != DType::kFloat32) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the plan has '", name, "' among its constants, but it is no float32 initialiser"));
  }
  if (params.axis != QuantParams::kWholeTensor) {
    return absl::InvalidArgumentError(
        absl::StrCat("the plan has scales along axis ", params.axis, " for the constant '", name,
                     "'; constants that are added or multiplied have one scale"));
  }
  return Annotate(CheckParams(params, constant->shape()),
                  absl::StrCat("the plan for the constant '", name, "'"));
}

}  // namespace

absl::Status CheckPlan(const Graph& graph, const QuantPlan& plan) {
  const Uses uses(graph);
  for (const auto& [name, params] : plan.activations) {
    DS_RETURN_IF_ERROR(CheckActivation(graph, uses, name, params));
  }
  for (const auto& [name, params] : plan.weights) {
    DS_RETURN_IF_ERROR(CheckWeight(graph, name, params));
  }
  for (const auto& [name, params] : plan.constants) {
    DS_RETURN_IF_ERROR(CheckConstant(graph, name, params));
  }
  for (const auto& [name, reason] : plan.left_in_float) {
    bool found = false;
    for (const Node& node : graph.nodes()) found = found || node.name == name;
    if (!found) return Absent(graph, "the node", name);
  }
  return absl::OkStatus();
}

}  // namespace ds::qdq
