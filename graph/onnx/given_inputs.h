// What a caller knows of a model's inputs that its file leaves open.
#pragma once

#include "absl/status/status.h"
#include "graph/onnx/onnx.h"
#include "graph/onnx/proto.h"

namespace ds::onnx_io {

// Writes the options' input_shapes into the model's inputs (kDynamicDim leaves an extent as it is)
// and turns those of its input_values into Constant nodes. InvalidArgument: no such input, another
// rank, an extent that the file gives otherwise, another number of values, a value that the input's
// type does not hold.
absl::Status ApplyGivenInputs(const OnnxImportOptions& options, onnx::ModelProto& model);

}  // namespace ds::onnx_io
