#include "deploy/onnx_opset.h"

#include <algorithm>

#include "base/status.h"

namespace ds {
namespace {

constexpr int kFourBitOpset = 21;
constexpr int kTwoBitOpset = 25;

}  // namespace

int OldestOpsetFor(const Graph& graph) {
  int opset = OnnxExportOptions().opset;
  for (const Value& value : graph.values()) {
    const int bits = BitWidth(value.dtype);
    if (bits < 8) opset = std::max(opset, bits < 4 ? kTwoBitOpset : kFourBitOpset);
  }
  for (const Node& node : graph.nodes()) {
    if (node.attributes.contains("block_size")) opset = std::max(opset, kFourBitOpset);
  }
  return opset;
}

absl::StatusOr<OnnxFile> EncodeOnnx(const Graph& graph, OnnxExportOptions options) {
  if (options.opset == 0) options.opset = OldestOpsetFor(graph);
  OnnxFile file = {.opset = options.opset};
  DS_ASSIGN_OR_RETURN(file.bytes, ExportOnnxToBytes(graph, options));
  return file;
}

}  // namespace ds
