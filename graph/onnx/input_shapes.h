// Fixes extents of a model's inputs that its file leaves open.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "base/tensor/tensor.h"
#include "graph/onnx/proto.h"

namespace ds::onnx_io {

// Writes `shapes` (by input; kDynamicDim leaves an extent as it is) into the model's inputs.
// InvalidArgument: no such input, another rank, or an extent that the file gives otherwise.
absl::Status ApplyInputShapes(const std::map<std::string, Shape>& shapes, onnx::ModelProto& model);

}  // namespace ds::onnx_io
