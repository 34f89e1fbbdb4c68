#include "deploy/onnx_opset.h"

#include <set>

#include "base/status.h"

namespace ds {
namespace {

// ONNX Runtime gives each reader of a code a DequantizeLinear of its own, and then does not see
// that the parts of a decomposed Gelu belong together: from this opset on it is one node.
constexpr int kGeluOpset = 20;

bool ActivatesCodes(const Graph& graph) {
  std::set<ValueId> dequantized;
  for (const Node& node : graph.nodes()) {
    if (node.op == "DequantizeLinear") dequantized.insert(node.outputs[0]);
    if (node.op == "Gelu" && dequantized.contains(node.inputs[0])) return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<OnnxFile> EncodeOnnx(const Graph& graph, OnnxExportOptions options) {
  if (options.opset == 0) {
    options.opset = ActivatesCodes(graph) ? kGeluOpset : OnnxExportOptions().opset;
  }
  OnnxFile file;
  DS_ASSIGN_OR_RETURN(file.bytes, ExportOnnxToBytes(graph, options, &file.opset));
  return file;
}

}  // namespace ds
