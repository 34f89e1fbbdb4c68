// Takes calls of functions and branches out of a model before the importer reads it: the graph has
// neither. A protobuf rewrite that needs no operator's meaning; what must be known of values is
// asked of a function that the importer brings.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor/tensor.h"
#include "graph/onnx/proto.h"

namespace ds::onnx_io {

// Every call of a model-local function becomes the function's nodes, nested calls too; attributes
// that refer to the function's own get the call's, or their defaults. InvalidArgument: a function
// that calls itself, or a call with too many operands. Unimplemented: a function of another ai.onnx
// opset than the model's.
absl::Status InlineFunctions(onnx::ModelProto& model);

struct ProbedValue {
  Shape shape;
  std::optional<bool> truth;  // where the value is one constant element
};

// Shapes and, where they are constant, values of `names` in a graph of these nodes.
using Prober = std::function<absl::StatusOr<std::vector<ProbedValue>>(
    const onnx::ModelProto& model, const std::vector<std::string>& names)>;

// Every If becomes the branch that its condition chooses, where the condition follows from
// constants and from shapes that are known; else both branches are computed and a Where chooses,
// if their outputs have equal shapes (extents known only at run time are taken for equal; what is
// not chosen costs its time, and a value in it that is not finite may reach gradients): one
// sentence in `notes`, if given. A weight of the else branch whose name both have is then called
// NAME.else_branch. Unimplemented for any other If: the message names the inputs whose values or
// extents decide it.
absl::Status InlineBranches(onnx::ModelProto& model, const Prober& probe,
                            std::vector<std::string>* notes);

}  // namespace ds::onnx_io
