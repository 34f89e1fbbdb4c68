#include "graph/output_activation.h"

#include <set>

namespace ds {
namespace {

bool KeepsMeaning(const std::string& op) {
  static const auto& ops = *new std::set<std::string>{
      "Identity",  "Cast",      "Dropout", "Flatten",        "Reshape",         "Squeeze",
      "Unsqueeze", "Transpose", "Resize",  "QuantizeLinear", "DequantizeLinear"};
  return ops.contains(op);
}

}  // namespace

OutputEnd FindOutputEnd(const Graph& graph, size_t index) {
  OutputEnd end;
  bool log = false;
  for (ValueId id = graph.outputs().at(index); id != kNoValue;) {
    const int producer = graph.Producer(id);
    if (producer < 0) return end;
    const Node& node = graph.nodes()[static_cast<size_t>(producer)];
    const bool first_log = node.op == "Log" && !log;
    if (end.op.empty() && !KeepsMeaning(node.op)) {
      end.node = node.name;
      end.op = node.op;
    }
    if (KeepsMeaning(node.op) || first_log) {
      log = log || first_log;
      id = node.inputs[0];
      continue;
    }
    if (node.op == "Softmax")
      end.activation = log ? OutputActivation::kLogSoftmax : OutputActivation::kSoftmax;
    if (node.op == "LogSoftmax" && !log) end.activation = OutputActivation::kLogSoftmax;
    if (node.op == "Sigmoid" && !log) end.activation = OutputActivation::kSigmoid;
    return end;
  }
  return end;
}

}  // namespace ds
