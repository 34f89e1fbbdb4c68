#include "quant/selection.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace ds {
namespace {

bool Multiplies(const std::string& op) { return op == "Conv" || op == "Gemm" || op == "MatMul"; }

bool Clamps(const std::string& op) { return op == "Relu" || op == "Clip"; }

// Operators that runtimes compute on codes, and that are worth it between others that they do.
bool JoinsIntegers(const std::string& op) {
  static const std::set<std::string> ops = {"Mul", "Concat", "Sigmoid", "HardSigmoid", "LeakyRelu"};
  return ops.count(op) > 0;
}

class Selector {
 public:
  Selector(const Graph& graph, bool constants) : graph_(graph), constants_(constants) {
    for (size_t n = 0; n < graph.nodes().size(); ++n) {
      for (const ValueId id : graph.nodes()[n].inputs) {
        if (id != kNoValue) readers_[id].push_back(static_cast<int>(n));
      }
      for (const ValueId id : graph.nodes()[n].outputs) {
        if (id != kNoValue) makers_[id] = &graph.nodes()[n];
      }
    }
  }

  QuantSelection Run() {
    for (size_t n = 0; n < graph_.nodes().size(); ++n) Visit(static_cast<int>(n));
    for (size_t n = 0; n < graph_.nodes().size(); ++n) Share(graph_.nodes()[n]);
    CollectActivations();
    return std::move(selection_);
  }

 private:
  void Visit(int n) {
    const Node& node = graph_.nodes()[static_cast<size_t>(n)];
    if (Multiplies(node.op)) {
      const bool has_weight = AddWeight(n, node);
      if (!has_weight && node.op != "MatMul") return;
      AddOperand(node.inputs[0], n);
      if (!has_weight) AddOperand(node.inputs[1], n);
      AddResult(node, node.op != "Conv" && !HasSeparateBias(node));
    } else if (node.op == "Add") {
      if (!IsComputedFloat(node.inputs[0]) || !IsComputedFloat(node.inputs[1])) {
        return Join(n, node);
      }
      if (!FeedsIntegers(node.outputs[0])) return;
      AddOperand(node.inputs[0], n);
      AddOperand(node.inputs[1], n);
      AddResult(node, false);
    } else if (Averages(node)) {
      AddOperand(node.inputs[0], n);
      AddResult(node, false);
    } else if (JoinsIntegers(node.op)) {
      Join(n, node);
    }
  }

  void Join(int n, const Node& node) {
    const auto fits = [this, &node](ValueId id) {
      return IsComputedFloat(id) || IsJoinableConstant(node, id);
    };
    const auto known = [this](ValueId id) {
      return IsComputedFloat(id) && sites_.count(Origin(id)) > 0;
    };
    if (!std::all_of(node.inputs.begin(), node.inputs.end(), fits)) return;
    if (std::none_of(node.inputs.begin(), node.inputs.end(), known)) return;
    if (!FeedsIntegers(node.outputs[0])) return;
    for (const ValueId id : node.inputs) {
      AddOperand(id, n);
      if (!IsComputedFloat(id)) AddConstant(id);
    }
    AddResult(node, false);
  }

  bool IsJoinableConstant(const Node& node, ValueId id) const {
    const Tensor* constant = graph_.Constant(id);
    if (!constants_ || constant == nullptr || constant->dtype() != DType::kFloat32) return false;
    const auto values = constant->span<float>();  // a mask of -Inf has no codes
    const bool finite =
        std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); });
    return finite && (node.op == "Add" || node.op == "Mul");
  }

  void AddConstant(ValueId id) {
    if (seen_constants_.insert(id).second) selection_.constants.push_back(id);
  }

  // A window's average costs ONNX Runtime less in float, codes on both sides or not.
  bool Averages(const Node& node) const {
    return (node.op == "AveragePool" && !constants_) || node.op == "GlobalAveragePool" ||
           IsMeanOverSpace(graph_, node);
  }

  bool IsComputedFloat(ValueId id) const {
    return !graph_.IsInitializer(id) && graph_.value(id).dtype == DType::kFloat32;
  }

  bool AddWeight(int n, const Node& node) {
    const ValueId id = node.inputs[1];
    const Tensor* weight = graph_.Constant(id);
    const bool fits =
        weight != nullptr && weight->dtype() == DType::kFloat32 && weight->rank() >= 2;
    if (!fits) return false;
    selection_.multipliers.push_back(n);
    if (seen_weights_.insert(id).second) {
      selection_.weights.push_back({id, n, WeightChannelAxis(node, weight->rank())});
    }
    return true;
  }

  // A value that is handed on is rounded where it came to be.
  ValueId Origin(ValueId id) const {
    while (true) {
      const auto maker = makers_.find(id);
      if (maker == makers_.end()) return id;
      const Node& node = *maker->second;
      if (!HandsOnValues(node) || !IsComputedFloat(node.inputs[0])) return id;
      id = node.inputs[0];
    }
  }

  void AddOperand(ValueId id, int reader) {
    if (IsComputedFloat(id)) sites_[Origin(id)].insert(reader);
  }

  void AddResult(const Node& node, bool may_be_float) {
    ValueId id = node.outputs[0];
    const auto readers = readers_.find(id);
    const bool only_one = readers != readers_.end() && readers->second.size() == 1 && !IsOutput(id);
    if (only_one) {
      const Node& reader = graph_.nodes()[static_cast<size_t>(readers->second[0])];
      if (Clamps(reader.op) && reader.inputs[0] == id) id = reader.outputs[0];
    }
    if (may_be_float && !FeedsIntegers(id)) return;
    sites_[id];
  }

  // Of a MatMul and a sum with a constant behind it, if nothing is rounded between, ONNX Runtime
  // makes a Gemm in float.
  bool HasSeparateBias(const Node& node) const {
    const auto readers = readers_.find(node.outputs[0]);
    return node.op == "MatMul" && readers != readers_.end() &&
           std::any_of(readers->second.begin(), readers->second.end(), [this](int n) {
             const Node& reader = graph_.nodes()[static_cast<size_t>(n)];
             return reader.op == "Add" && (graph_.IsInitializer(reader.inputs[0]) ||
                                           graph_.IsInitializer(reader.inputs[1]));
           });
  }

  bool IsOutput(ValueId id) const {
    return std::find(graph_.outputs().begin(), graph_.outputs().end(), id) !=
           graph_.outputs().end();
  }

  // A reader, directly or behind others that only pass codes on, computes with integers.
  bool FeedsIntegers(ValueId id) const {
    const auto known = feeds_.find(id);
    if (known != feeds_.end()) return known->second;
    const auto readers = readers_.find(id);
    bool feeds = false;
    if (readers != readers_.end()) {
      for (const int n : readers->second) {
        const Node& node = graph_.nodes()[static_cast<size_t>(n)];
        const bool adds =
            node.op == "Add" &&
            (constants_ || (IsComputedFloat(node.inputs[0]) && IsComputedFloat(node.inputs[1])));
        const bool passes = HandsOnValues(node) || Clamps(node.op) || JoinsIntegers(node.op) ||
                            node.op == "AveragePool" || adds;
        feeds =
            feeds || Multiplies(node.op) || Averages(node) ||
            (passes && std::any_of(node.outputs.begin(), node.outputs.end(), [this](ValueId out) {
               return out != kNoValue && FeedsIntegers(out);
             }));
      }
    }
    feeds_[id] = feeds;
    return feeds;
  }

  void Share(const Node& node) {
    if (!HandsOnValues(node) || !IsComputedFloat(node.inputs[0])) return;
    const ValueId origin = Origin(node.inputs[0]);
    if (sites_.count(origin) == 0) return;
    for (const ValueId output : node.outputs) {
      if (output != kNoValue && IsComputedFloat(output)) {
        selection_.shared.push_back({output, node.inputs[0]});
      }
    }
  }

  void CollectActivations() {
    const auto take = [this](ValueId id) {
      const auto found = sites_.find(id);
      if (found == sites_.end()) return;
      const auto maker = makers_.find(id);
      const bool unit_range = maker != makers_.end() && (maker->second->op == "HardSigmoid" ||
                                                         maker->second->op == "Sigmoid");
      selection_.activations.push_back(
          {id, {found->second.begin(), found->second.end()}, unit_range});
    };
    for (const ValueId id : graph_.inputs()) take(id);
    for (const Node& node : graph_.nodes()) {
      for (const ValueId id : node.outputs) take(id);
    }
  }

  const Graph& graph_;
  std::map<ValueId, std::vector<int>> readers_;
  std::map<ValueId, const Node*> makers_;
  std::map<ValueId, std::set<int>> sites_;
  const bool constants_;
  std::set<ValueId> seen_weights_, seen_constants_;
  mutable std::map<ValueId, bool> feeds_;  // FeedsIntegers, as far as asked
  QuantSelection selection_;
};

}  // namespace

// Conv [M, C/g, kH, kW]; Gemm [K, N], or [N, K] transposed; MatMul [..., K, N].
int WeightChannelAxis(const Node& node, int rank) {
  if (node.op == "Conv") return 0;
  if (node.op == "Gemm") return node.GetInt("transB", 0) != 0 ? 0 : 1;
  return rank - 1;
}

bool IsEnd(const QuantSelection& selection, int node) {
  return !selection.multipliers.empty() &&
         (node == selection.multipliers.front() || node == selection.multipliers.back());
}

bool IsReadAtEnd(const QuantSelection& selection, const ActivationSite& site) {
  return std::any_of(site.readers.begin(), site.readers.end(),
                     [&selection](int node) { return IsEnd(selection, node); });
}

bool OnlyAdded(const Graph& graph, const ActivationSite& site) {
  return !site.readers.empty() &&
         std::all_of(site.readers.begin(), site.readers.end(),
                     [&graph](int n) { return graph.nodes()[static_cast<size_t>(n)].op == "Add"; });
}

bool IsMeanOverSpace(const Graph& graph, const Node& node) {
  const auto& shape = graph.value(node.inputs[0]).shape;
  if (node.op != "ReduceMean" || !shape.has_value() || shape->size() < 3) return false;
  const auto rank = static_cast<int64_t>(shape->size());
  std::vector<bool> reduced(shape->size(), false);
  for (const int64_t axis : node.GetInts("axes", {})) reduced[axis < 0 ? axis + rank : axis] = true;
  for (size_t i = 0; i < reduced.size(); ++i) {
    if (reduced[i] != (i >= 2)) return false;
  }
  return true;
}

bool HandsOnValues(const Node& node) {
  static const std::set<std::string> ops = {
      "Dropout",   "Flatten", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose",
      "Unsqueeze", "Slice",   "Split",    "Gather",  "Expand",  "Tile"};
  if (node.op == "Resize") return node.GetString("mode", "nearest") == "nearest";
  return ops.count(node.op) > 0;
}

QuantSelection SelectForQuantization(const Graph& graph, bool constants) {
  return Selector(graph, constants).Run();
}

}  // namespace ds
