#include "quant/selection.h"

#include <algorithm>
#include <map>
#include <set>

namespace ds {
namespace {

bool Multiplies(const std::string& op) { return op == "Conv" || op == "Gemm" || op == "MatMul"; }

bool Averages(const std::string& op) { return op == "AveragePool" || op == "GlobalAveragePool"; }

bool Clamps(const std::string& op) { return op == "Relu" || op == "Clip"; }

class Selector {
 public:
  explicit Selector(const Graph& graph) : graph_(graph) {
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
      AddResult(node, node.op != "Conv");
    } else if (node.op == "Add") {
      if (!IsComputedFloat(node.inputs[0]) || !IsComputedFloat(node.inputs[1])) return;
      AddOperand(node.inputs[0], n);
      AddOperand(node.inputs[1], n);
      AddResult(node, false);
    } else if (Averages(node.op)) {
      AddOperand(node.inputs[0], n);
      AddResult(node, false);
    }
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
      if (!HandsOnValues(node.op) || !IsComputedFloat(node.inputs[0])) return id;
      id = node.inputs[0];
    }
  }

  void AddOperand(ValueId id, int reader) {
    if (IsComputedFloat(id)) sites_[Origin(id)].insert(reader);
  }

  void AddResult(const Node& node, bool may_be_logits) {
    ValueId id = node.outputs[0];
    const auto readers = readers_.find(id);
    const bool only_one = readers != readers_.end() && readers->second.size() == 1 && !IsOutput(id);
    if (only_one) {
      const Node& reader = graph_.nodes()[static_cast<size_t>(readers->second[0])];
      if (Clamps(reader.op) && reader.inputs[0] == id) id = reader.outputs[0];
    }
    if (may_be_logits && LeadsToOutputsOnly(id)) return;
    sites_[id];
  }

  bool IsOutput(ValueId id) const {
    return std::find(graph_.outputs().begin(), graph_.outputs().end(), id) !=
           graph_.outputs().end();
  }

  // Read by nobody, or only by nodes that stay float (Softmax and the like).
  bool LeadsToOutputsOnly(ValueId id) const {
    const auto readers = readers_.find(id);
    if (readers == readers_.end()) return true;
    return std::none_of(readers->second.begin(), readers->second.end(), [this](int n) {
      const std::string& op = graph_.nodes()[static_cast<size_t>(n)].op;
      return Multiplies(op) || op == "Add" || Averages(op) || HandsOnValues(op);
    });
  }

  void Share(const Node& node) {
    if (!HandsOnValues(node.op) || !IsComputedFloat(node.inputs[0])) return;
    const ValueId origin = Origin(node.inputs[0]);
    if (sites_.count(origin) > 0) selection_.shared.push_back({node.outputs[0], node.inputs[0]});
  }

  void CollectActivations() {
    const auto take = [this](ValueId id) {
      const auto found = sites_.find(id);
      if (found == sites_.end()) return;
      selection_.activations.push_back({id, {found->second.begin(), found->second.end()}});
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
  std::set<ValueId> seen_weights_;
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

bool HandsOnValues(const std::string& op) {
  static const std::set<std::string> ops = {"Dropout",   "Flatten",   "Identity",
                                            "MaxPool",   "Reshape",   "Squeeze",
                                            "Transpose", "Unsqueeze", "Slice"};
  return ops.count(op) > 0;
}

QuantSelection SelectForQuantization(const Graph& graph) { return Selector(graph).Run(); }

}  // namespace ds
