#include "deploy/qdq/fate.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "graph/passes/uses.h"

namespace ds::qdq {
namespace {

bool IsOneOf(const std::string& op, std::initializer_list<const char*> ops) {
  return std::any_of(ops.begin(), ops.end(), [&op](const char* known) { return op == known; });
}

// Each function returns why a node stays in float, or nothing.
class Judge {
 public:
  Judge(const Graph& graph, const QuantPlan& plan, const Placement& placement,
        const WeightPlan& weights, const QdqOptions& options)
      : graph_(graph),
        uses_(graph),
        plan_(plan),
        placement_(placement),
        weights_(weights),
        options_(options) {}

  std::string WhyFloat(int index) const {
    const Node& node = graph_.nodes()[index];
    const auto left = plan_.left_in_float.find(node.name);
    if (left != plan_.left_in_float.end()) {
      return left->second.empty() ? "the plan leaves it in float" : left->second;
    }
    if (node.op == "Conv") return Conv(index);
    if (node.op == "Gemm") return Gemm(index);
    if (node.op == "MatMul") return MatMul(node);
    if (node.op == "AveragePool") return "ONNX Runtime averages windows faster in float";
    if (node.op == "Softmax" && !placement_.Quantised(node.inputs[0])) {
      return "ONNX Runtime's integer Softmax is slower than its float one";
    }
    if (IsOneOf(node.op,
                {"Add", "Mul", "Concat", "GlobalAveragePool", "Sigmoid", "LeakyRelu", "Softmax"})) {
      return AllOperands(node);
    }
    if (node.op == "HardSigmoid") return HardSigmoid(node);
    if (KeepsValues(node)) return Operand(node, 0);
    if (ClampOf(graph_, node).has_value()) return ClampNode(index);
    return absl::StrCat("ONNX Runtime has no integer form of ", node.op);
  }

 private:
  std::string Quoted(ValueId id) const { return absl::StrCat("'", graph_.value(id).name, "'"); }

  std::string Operand(const Node& node, size_t slot) const {
    const ValueId id = node.inputs[slot];
    if (placement_.Quantised(id)) return "";
    return absl::StrCat("its ", graph_.IsInitializer(id) ? "constant " : "input ", Quoted(id),
                        " is not quantised");
  }

  // The value whose quantisation ends the node: its result, or that of the clamp left to it.
  ValueId End(const Node& node) const {
    ValueId id = node.outputs[0];
    while (!placement_.Quantised(id) && uses_.Count(id) == 1) {
      const int reader = Reader(id);
      if (reader < 0 || !placement_.absorbed[reader]) return id;
      id = graph_.nodes()[reader].outputs[0];
    }
    return id;
  }

  int Reader(ValueId id) const {
    const std::vector<int> readers = graph_.Consumers(id);
    return readers.size() == 1 ? readers[0] : -1;
  }

  std::string Result(const Node& node) const {
    const ValueId end = End(node);
    if (placement_.Quantised(end)) return "";
    const int reader = uses_.Count(end) == 1 ? Reader(end) : -1;
    const Node* clamp = reader < 0 ? nullptr : &graph_.nodes()[reader];
    if (clamp != nullptr && ClampOf(graph_, *clamp) && placement_.Quantised(clamp->outputs[0])) {
      const QuantParams& params = *placement_.values[clamp->outputs[0]];
      return absl::StrCat("the ", clamp->op, " behind it ('", clamp->name, "') is more than the ",
                          "saturation of codes from ", params.type.min(), " to ", params.type.max(),
                          " with zero point ", params.zero_points[0], " and scale ",
                          params.scales[0]);
    }
    return absl::StrCat("its result ", Quoted(end), " is not quantised");
  }

  bool IsSigned(ValueId id) const { return placement_.values[id]->type.is_signed; }

  std::string SameTypes(ValueId input, ValueId result) const {
    if (!placement_.Quantised(result) || IsSigned(input) == IsSigned(result)) return "";
    return absl::StrCat("its input ", Quoted(input), " and its result ", Quoted(result),
                        " are of different types (int8 and uint8)");
  }

  // A weight with one scale, or one a channel along `axis`.
  std::string Weight(const Node& node, int slot, int axis, ValueId input) const {
    const ValueId id = node.inputs[slot];
    const auto found = weights_.weights.find(id);
    if (!graph_.IsInitializer(id)) return absl::StrCat("its weight ", Quoted(id), " is computed");
    if (found == weights_.weights.end()) {
      return absl::StrCat("its weight ", Quoted(id), " is not quantised");
    }
    const QuantParams& params = found->second;
    if (params.group > 0) {
      return absl::StrCat("its weight ", Quoted(id), " has scales for groups of ", params.group);
    }
    if (params.axis != QuantParams::kWholeTensor && params.axis != axis) {
      return absl::StrCat("its weight ", Quoted(id), " has scales along axis ", params.axis,
                          " instead of ", axis);
    }
    if (params.type.bits <= 4 && options_.small_weights == SmallWeights::kDirect) {
      return absl::StrCat("its weight ", Quoted(id), " has ", params.type.bits,
                          " bits and no Cast to int8");
    }
    if (IsSigned(input) && !params.type.is_signed) {
      return absl::StrCat("its weight ", Quoted(id), " is unsigned and its input signed");
    }
    return "";
  }

  std::string First(std::initializer_list<std::string> reasons) const {
    for (const std::string& reason : reasons) {
      if (!reason.empty()) return reason;
    }
    return "";
  }

  std::string Bias(int index) const {
    const Node& node = graph_.nodes()[index];
    const bool none = node.inputs.size() < 3 || node.inputs[2] == kNoValue;
    if (none || weights_.biases.contains(index)) return "";
    return absl::StrCat("its bias ", Quoted(node.inputs[2]),
                        " is not a constant with one number a channel");
  }

  std::string Conv(int index) const {
    const Node& node = graph_.nodes()[index];
    const std::string operand = Operand(node, 0);
    if (!operand.empty()) return operand;
    return First({Weight(node, 1, 0, node.inputs[0]), Bias(index), Result(node),
                  SameTypes(node.inputs[0], End(node))});
  }

  std::string Gemm(int index) const {
    const Node& node = graph_.nodes()[index];
    const std::string operand = Operand(node, 0);
    if (!operand.empty()) return operand;
    if (node.GetFloat("alpha", 1.0f) != 1.0f || node.GetFloat("beta", 1.0f) != 1.0f) {
      return "its alpha or beta is not 1";
    }
    if (node.GetInt("transA", 0) != 0) return "its first operand is transposed";
    return First({Weight(node, 1, OutputAxis(node, 1, 2), node.inputs[0]), Bias(index),
                  SameTypes(node.inputs[0], End(node))});
  }

  std::string MatMul(const Node& node) const {
    const std::string operand = Operand(node, 0);
    if (!operand.empty()) return operand;
    const ValueId b = node.inputs[1];
    if (placement_.Quantised(b)) return SameTypes(node.inputs[0], End(node));
    if (!graph_.IsInitializer(b)) return Operand(node, 1);
    return First({Weight(node, 1, OutputAxis(node, 1, graph_.Constant(b)->rank()), node.inputs[0]),
                  SameTypes(node.inputs[0], End(node))});
  }

  std::string AllOperands(const Node& node) const {
    for (size_t slot = 0; slot < node.inputs.size(); ++slot) {
      if (plan_.constants.contains(graph_.value(node.inputs[slot]).name)) continue;
      const std::string operand = Operand(node, slot);
      if (!operand.empty()) return operand;
    }
    return Result(node);
  }

  std::string HardSigmoid(const Node& node) const {
    const std::string all = AllOperands(node);
    if (!all.empty() || SaturatesAsHardSigmoid(node, *placement_.values[node.outputs[0]])) {
      return all;
    }
    return absl::StrCat("its result ", Quoted(node.outputs[0]), " has no codes over [0, 1]");
  }

  std::string ClampNode(int index) const {
    const Node& node = graph_.nodes()[index];
    if (placement_.absorbed[index]) return "";
    if (!placement_.Quantised(node.outputs[0])) return Result(node);
    return absl::StrCat("it is more than the saturation of its result's codes");
  }

  const Graph& graph_;
  const Uses uses_;
  const QuantPlan& plan_;
  const Placement& placement_;
  const WeightPlan& weights_;
  const QdqOptions& options_;
};

}  // namespace

std::vector<NodeFate> FatesOf(const Graph& graph, const QuantPlan& plan, const Placement& placement,
                              const WeightPlan& weights, const QdqOptions& options) {
  const Judge judge(graph, plan, placement, weights, options);
  std::vector<NodeFate> fates;
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    if (!IsFloatingPoint(graph.value(node.outputs[0]).dtype)) continue;
    std::string reason = judge.WhyFloat(static_cast<int>(i));
    const bool quantised = reason.empty();
    fates.push_back({node.name, node.op, quantised, std::move(reason)});
  }
  return fates;
}

}  // namespace ds::qdq
