// Which opset a graph can be written in: operators, attributes and element types came to ONNX one
// after the other.
#pragma once

#include "absl/status/statusor.h"
#include "graph/graph.h"

namespace ds::onnx_io {

// The least opset, but not below `opset`, that has all of `graph`: its operators in the form in
// which DecomposeForOpset leaves them, and the types of their operands, which must be inferred.
// From ONNX's changelog of operators (docs/Changelog.md of its repository), as far as opset 13 and
// later changed what we write. Unimplemented naming node and type where no opset has them.
absl::StatusOr<int> LeastOpset(const Graph& graph, int opset);

}  // namespace ds::onnx_io
