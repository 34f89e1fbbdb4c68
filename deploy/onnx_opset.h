// Which ONNX opset a quantised graph needs, and its file with that opset.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "graph/onnx/onnx.h"

namespace ds {

// The oldest that has all of the graph's types and attributes, but not below 17: int4 and scales
// for groups need 21, int2 needs 25.
int OldestOpsetFor(const Graph& graph);

struct OnnxFile {
  int opset = 0;
  std::string bytes;
};

// `options.opset` 0: OldestOpsetFor(graph). Errors are ExportOnnx's.
absl::StatusOr<OnnxFile> EncodeOnnx(const Graph& graph, OnnxExportOptions options);

}  // namespace ds
