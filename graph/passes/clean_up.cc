// Passes that only remove: dead nodes, identities and biases of zeros.
#include <algorithm>
#include <set>

#include "base/status.h"
#include "graph/passes/passes.h"
#include "graph/passes/uses.h"
#include "graph/schema/schema.h"

namespace ds {

namespace {

bool IsNoOp(const Graph& graph, const Node& node) {
  if (node.op == "Identity") return true;
  if (node.op != "Cast") return false;
  return node.GetInt("to", 0) == OnnxTypeNumber(graph.value(node.inputs[0]).dtype);
}

// A bias of zeros that does not train, as PyTorch's exporter writes of a layer without bias. Not of
// a size whose values may not have been read (OnnxImportOptions).
bool IsZeroConstant(const Graph& graph, ValueId id) {
  constexpr int64_t kMostElements = 4096;
  const auto found = graph.initializers().find(id);
  if (found == graph.initializers().end() || found->second.trainable) return false;
  const Tensor& data = found->second.data;
  if (data.dtype() != DType::kFloat32 || data.num_elements() > kMostElements) return false;
  const auto values = data.span<float>();
  return std::all_of(values.begin(), values.end(), [](float x) { return x == 0.0F; });
}

void DropZeroBiases(Graph& graph) {
  constexpr size_t kBias = 2;
  for (Node& node : graph.mutable_nodes()) {
    const bool layer = node.op == "Conv" || node.op == "ConvTranspose" || node.op == "Gemm";
    if (layer && node.inputs.size() == kBias + 1 && IsZeroConstant(graph, node.inputs[kBias]))
      node.inputs.pop_back();
  }
}

// Lets the producer of `from` write `to` instead, so that a graph output keeps its id and name.
void WriteDirectly(Graph& graph, ValueId from, ValueId to) {
  for (Node& node : graph.mutable_nodes()) {
    std::replace(node.inputs.begin(), node.inputs.end(), from, to);
    std::replace(node.outputs.begin(), node.outputs.end(), from, to);
  }
}

}  // namespace

absl::Status EliminateDeadNodes(Graph& graph) {
  std::vector<bool> needed(graph.values().size(), false);
  for (ValueId id : graph.outputs()) needed[id] = true;
  std::vector<Node>& nodes = graph.mutable_nodes();
  std::vector<bool> keep(nodes.size(), false);
  for (size_t i = nodes.size(); i-- > 0;) {
    for (ValueId id : nodes[i].outputs) keep[i] = keep[i] || (id != kNoValue && needed[id]);
    if (!keep[i]) continue;
    for (ValueId id : nodes[i].inputs) {
      if (id != kNoValue) needed[id] = true;
    }
  }
  size_t kept = 0;
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (!keep[i]) continue;
    if (kept != i) nodes[kept] = std::move(nodes[i]);
    ++kept;
  }
  nodes.resize(kept);
  std::erase_if(graph.mutable_initializers(),
                [&needed](const auto& entry) { return !needed[entry.first]; });
  return absl::OkStatus();
}

absl::Status EliminateIdentities(Graph& graph) {
  const std::set<ValueId> inputs(graph.inputs().begin(), graph.inputs().end());
  std::vector<bool> removed(graph.nodes().size(), false);
  for (size_t i = 0; i < removed.size(); ++i) {
    const Node& node = graph.nodes()[i];
    if (!IsNoOp(graph, node)) continue;
    const ValueId from = node.inputs[0];
    const ValueId to = node.outputs[0];
    const auto& outputs = graph.outputs();
    auto is_output = [&outputs](ValueId id) {
      return std::find(outputs.begin(), outputs.end(), id) != outputs.end();
    };
    if (!is_output(to)) {
      graph.ReplaceUses(to, from);
    } else if (inputs.contains(from) || graph.IsInitializer(from) || is_output(from)) {
      continue;  // The output would have no writer of its own.
    } else {
      WriteDirectly(graph, from, to);
    }
    removed[i] = true;
  }
  std::vector<Node> kept;
  for (size_t i = 0; i < removed.size(); ++i) {
    if (!removed[i]) kept.push_back(std::move(graph.mutable_nodes()[i]));
  }
  graph.mutable_nodes() = std::move(kept);
  return absl::OkStatus();
}

absl::Status Simplify(Graph& graph) {
  DS_RETURN_IF_ERROR(FoldConstants(graph));
  DropZeroBiases(graph);
  DS_RETURN_IF_ERROR(EliminateIdentities(graph));
  DS_RETURN_IF_ERROR(FuseActivations(graph));
  DS_RETURN_IF_ERROR(EliminateDeadNodes(graph));
  return InferShapes(graph);
}

}  // namespace ds
