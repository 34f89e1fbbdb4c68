#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "graph/passes/passes.h"
#include "graph/schema/schema.h"

namespace ds {
namespace {

constexpr int64_t kMostElements = 1 << 16;

// The initialiser that the node only gives another name, where it is small and no output.
const Tensor* Renamed(const Graph& graph, const Node& node) {
  if (node.op != "Identity" || node.inputs.size() != 1 || node.outputs.size() != 1) return nullptr;
  if (node.inputs[0] == kNoValue || node.outputs[0] == kNoValue) return nullptr;
  const auto& outputs = graph.outputs();
  if (std::count(outputs.begin(), outputs.end(), node.outputs[0]) > 0) return nullptr;
  const Tensor* data = graph.Constant(node.inputs[0]);
  return data != nullptr && data->num_elements() <= kMostElements ? data : nullptr;
}

// As layers begin: ones, zeros, or another number throughout.
bool IsUniformVector(const Tensor& tensor) {
  if (tensor.num_elements() < 2 || tensor.num_elements() > kMostElements) return false;
  const auto is_long = [](int64_t extent) { return extent != 1; };
  if (std::ranges::count_if(tensor.shape(), is_long) != 1) return false;
  const auto is_uniform = [](const auto values) {
    return std::ranges::all_of(values, [&](auto x) { return x == values[0]; });
  };
  if (tensor.dtype() == DType::kFloat64) return is_uniform(tensor.span<double>());
  return tensor.dtype() == DType::kFloat32 && is_uniform(tensor.span<float>());
}

// Whether a vector that is the node's own may stand there.
bool HasOwnVector(const Node& node, size_t slot) {
  static const std::set<std::string> kArithmetic = {"Add", "Sub", "Mul", "Div"};
  if (kArithmetic.contains(node.op) || (node.op == "BatchNormalization" && slot > 0)) return true;
  const OpSchema* schema = FindSchema(node.op);
  return schema != nullptr && slot > 0 &&
         std::ranges::count(schema->parameter_inputs, static_cast<int>(slot)) > 0;
}

void SeparateRenamed(Graph& graph) {
  std::vector<Node> kept;
  for (Node& node : graph.mutable_nodes()) {
    const Tensor* data = Renamed(graph, node);
    if (data == nullptr) {
      kept.push_back(std::move(node));
      continue;
    }
    Tensor own = data->Clone();
    Value& value = graph.mutable_value(node.outputs[0]);
    value.dtype = own.dtype();
    value.shape = own.shape();
    graph.mutable_initializers()[node.outputs[0]] = {.data = std::move(own), .trainable = false};
  }
  graph.mutable_nodes() = std::move(kept);
}

// Each layer has its own, but layers that are one: those that share their weight, too.
std::vector<SeparatedTensor> SeparateShared(Graph& graph) {
  std::vector<SeparatedTensor> separated;
  // The first reader keeps the tensor; further layers are told by their weight.
  std::map<ValueId, std::set<ValueId>> layers;
  std::set<ValueId> uniform;
  for (const auto& [id, initializer] : graph.initializers()) {
    if (IsUniformVector(initializer.data)) uniform.insert(id);
  }
  for (Node& node : graph.mutable_nodes()) {
    for (size_t slot = 0; slot < node.inputs.size(); ++slot) {
      const ValueId id = node.inputs[slot];
      if (!uniform.contains(id) || !HasOwnVector(node, slot)) continue;
      const bool is_bias = slot == 2 && graph.IsInitializer(node.inputs[1]);
      const ValueId layer = is_bias && node.inputs[1] != id ? node.inputs[1] : kNoValue;
      const bool is_first = !layers.contains(id);
      const bool is_known = layer != kNoValue && layers[id].contains(layer);
      layers[id].insert(layer);
      if (is_first || is_known) continue;
      node.inputs[slot] = graph.AddInitializer(absl::StrCat(graph.value(id).name, ".", node.name),
                                               graph.Constant(id)->Clone(), /*trainable=*/false);
      separated.push_back({.copy = node.inputs[slot], .original = id});
    }
  }
  return separated;
}

}  // namespace

std::vector<SeparatedTensor> SeparateEqualTensors(Graph& graph) {
  SeparateRenamed(graph);
  return SeparateShared(graph);
}

}  // namespace ds
