#include <algorithm>
#include <cmath>
#include <optional>

#include "graph/passes/passes.h"
#include "graph/passes/uses.h"

namespace ds {

namespace {

// What a fused node is: op, input and attributes.
struct Fused {
  const char* op;
  ValueId input;
  Attributes attributes;
};

std::optional<float> ScalarConstant(const Graph& graph, ValueId id) {
  auto it = graph.initializers().find(id);
  if (it == graph.initializers().end() || it->second.trainable) return std::nullopt;
  const Tensor& tensor = it->second.data;
  if (tensor.dtype() != DType::kFloat32 || tensor.num_elements() != 1 || tensor.rank() > 1) {
    return std::nullopt;
  }
  return tensor.span<float>()[0];
}

// Constants come rounded to float32, or to a few digits by a person.
bool IsNear(float x, double wanted) { return std::abs(x - wanted) <= 1e-6 * std::abs(wanted); }

// x for a gate op(x) that only this product reads.
const Node* Gate(const Uses& uses, ValueId gate, const char* op, ValueId x) {
  const Node* node = uses.Producer(gate, op);
  return node != nullptr && uses.Count(gate) == 1 && node->inputs[0] == x ? node : nullptr;
}

std::optional<Fused> MatchGated(const Uses& uses, ValueId x, ValueId gate) {
  if (Gate(uses, gate, "Sigmoid", x) != nullptr) return Fused{"SiLU", x, {}};
  const Node* hard = Gate(uses, gate, "HardSigmoid", x);
  if (hard != nullptr && IsNear(hard->GetFloat("alpha", 0.2f), 1.0 / 6.0) &&
      IsNear(hard->GetFloat("beta", 0.5f), 0.5)) {
    return Fused{"HardSwish", x, {}};
  }
  return std::nullopt;
}

// x for clip(x + 3, 0, 6) that only one node reads: six times a hard sigmoid.
std::optional<ValueId> SixfoldGate(const Graph& graph, const Uses& uses, ValueId id) {
  const Node* clip = uses.Producer(id, "Clip");
  if (clip == nullptr || uses.Count(id) != 1 || clip->inputs.size() < 3) return std::nullopt;
  if (ScalarConstant(graph, clip->inputs[1]) != 0.0f) return std::nullopt;
  if (ScalarConstant(graph, clip->inputs[2]) != 6.0f) return std::nullopt;
  const Node* add = uses.Producer(clip->inputs[0], "Add");
  if (add == nullptr || uses.Count(clip->inputs[0]) != 1) return std::nullopt;
  for (int i = 0; i < 2; ++i) {
    if (ScalarConstant(graph, add->inputs[1 - i]) == 3.0f) return add->inputs[i];
  }
  return std::nullopt;
}

// v for v / 6.
std::optional<ValueId> SixthOf(const Graph& graph, const Node& node) {
  if (node.op == "Div") {
    if (ScalarConstant(graph, node.inputs[1]) == 6.0f) return node.inputs[0];
  } else if (node.op == "Mul") {
    for (int i = 0; i < 2; ++i) {
      const auto by = ScalarConstant(graph, node.inputs[1 - i]);
      if (by && IsNear(*by, 1.0 / 6.0)) return node.inputs[i];
    }
  }
  return std::nullopt;
}

// clip(x + 3, 0, 6) / 6, and x * clip(x + 3, 0, 6) / 6.
std::optional<Fused> MatchSixth(const Graph& graph, const Uses& uses, const Node& node) {
  const std::optional<ValueId> sixth = SixthOf(graph, node);
  if (!sixth) return std::nullopt;
  if (const auto x = SixfoldGate(graph, uses, *sixth))
    return Fused{"HardSigmoid", *x, {{"alpha", 1.0f / 6.0f}, {"beta", 0.5f}}};
  const Node* product = uses.Producer(*sixth, "Mul");
  if (product == nullptr || uses.Count(*sixth) != 1) return std::nullopt;
  for (int i = 0; i < 2; ++i) {
    if (SixfoldGate(graph, uses, product->inputs[i]) == product->inputs[1 - i])
      return Fused{"HardSwish", product->inputs[1 - i], {}};
  }
  return std::nullopt;
}

// The factors of a product, through products that nothing else reads.
void CollectFactors(const Uses& uses, const Node& product, std::vector<ValueId>& factors) {
  for (ValueId id : product.inputs) {
    const Node* inner = uses.Producer(id, "Mul");
    if (inner != nullptr && uses.Count(id) == 1 && factors.size() < 4) {
      for (ValueId factor : inner->inputs) factors.push_back(factor);
    } else {
      factors.push_back(id);
    }
  }
}

// True for x / sqrt(2) or x * sqrt(1/2).
bool IsScaledBySqrtHalf(const Graph& graph, const Uses& uses, ValueId scaled, ValueId x) {
  if (const Node* div = uses.Producer(scaled, "Div")) {
    const auto by = ScalarConstant(graph, div->inputs[1]);
    return div->inputs[0] == x && by && IsNear(*by, M_SQRT2);
  }
  if (const Node* mul = uses.Producer(scaled, "Mul")) {
    for (int i = 0; i < 2; ++i) {
      const auto by = ScalarConstant(graph, mul->inputs[1 - i]);
      if (mul->inputs[i] == x && by && IsNear(*by, M_SQRT1_2)) return true;
    }
  }
  return false;
}

// True for 1 + Erf(x / sqrt(2)).
bool IsErfTerm(const Graph& graph, const Uses& uses, ValueId term, ValueId x) {
  const Node* add = uses.Producer(term, "Add");
  if (add == nullptr) return false;
  for (int i = 0; i < 2; ++i) {
    const Node* erf = uses.Producer(add->inputs[i], "Erf");
    const auto one = ScalarConstant(graph, add->inputs[1 - i]);
    if (erf != nullptr && one && *one == 1.0f) {
      return IsScaledBySqrtHalf(graph, uses, erf->inputs[0], x);
    }
  }
  return false;
}

std::optional<Fused> MatchGelu(const Graph& graph, const Uses& uses, const Node& product) {
  std::vector<ValueId> factors;
  CollectFactors(uses, product, factors);
  if (factors.size() != 3) return std::nullopt;
  std::sort(factors.begin(), factors.end());
  do {
    const auto half = ScalarConstant(graph, factors[0]);
    if (half && *half == 0.5f && IsErfTerm(graph, uses, factors[2], factors[1])) {
      return Fused{"Gelu", factors[1], {{"approximate", std::string("none")}}};
    }
  } while (std::next_permutation(factors.begin(), factors.end()));
  return std::nullopt;
}

std::optional<Fused> Match(const Graph& graph, const Uses& uses, const Node& node) {
  if (auto fused = MatchSixth(graph, uses, node)) return fused;
  if (node.op != "Mul") return std::nullopt;
  if (auto fused = MatchGated(uses, node.inputs[0], node.inputs[1])) return fused;
  if (auto fused = MatchGated(uses, node.inputs[1], node.inputs[0])) return fused;
  return MatchGelu(graph, uses, node);
}

}  // namespace

absl::Status FuseActivations(Graph& graph) {
  const Uses uses(graph);
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    std::optional<Fused> fused = Match(graph, uses, graph.nodes()[i]);
    if (!fused) continue;
    // In place: the parts it stood on are dead now and go with the next pass. The index of uses
    // stays right for what is still to come, since values keep their producers.
    Node& node = graph.mutable_nodes()[i];
    node.op = fused->op;
    node.inputs = {fused->input};
    node.attributes = std::move(fused->attributes);
  }
  return EliminateDeadNodes(graph);
}

}  // namespace ds
