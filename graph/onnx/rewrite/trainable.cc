#include "graph/onnx/rewrite/trainable.h"

#include <algorithm>

#include "graph/finite_weights.h"
#include "graph/schema/schema.h"

namespace ds::onnx_io {
namespace {

bool IsArithmetic(const std::string& op) {
  return op == "Add" || op == "Sub" || op == "Mul" || op == "Div";
}

bool IsQuantization(const std::string& op) {
  return op == "QuantizeLinear" || op == "DequantizeLinear";
}

}  // namespace

void MarkTrainable(Graph& graph) {
  for (const Node& node : graph.nodes()) {
    const OpSchema* schema = FindSchema(node.op);
    for (size_t slot = 0; slot < node.inputs.size(); ++slot) {
      auto it = graph.mutable_initializers().find(node.inputs[slot]);
      if (it == graph.mutable_initializers().end() || !IsFloatingPoint(it->second.data.dtype()))
        continue;
      const bool in_slot = schema != nullptr &&
                           std::count(schema->parameter_inputs.begin(),
                                      schema->parameter_inputs.end(), static_cast<int>(slot)) > 0;
      const Tensor& data = it->second.data;
      // One that holds infinities is a mask: decay or an average would make NaN of it.
      const bool combined = IsArithmetic(node.op) && data.rank() >= 1 && data.num_elements() > 1 &&
                            !HoldsInfinity(data);
      if (in_slot || combined) it->second.trainable = true;
    }
  }
  // Scales, also where another node reads them too.
  for (const Node& node : graph.nodes()) {
    if (!IsQuantization(node.op)) continue;
    for (const ValueId id : node.inputs) {
      auto it = graph.mutable_initializers().find(id);
      if (it != graph.mutable_initializers().end()) it->second.trainable = false;
    }
  }
}

}  // namespace ds::onnx_io
