// TensorProto <-> Tensor. Data sits in raw_data, in a typed field, or in another file; all three
// are checked against the shape before a byte is allocated.
#pragma once

#include "absl/status/statusor.h"
#include "base/tensor/tensor.h"
#include "graph/onnx/external_data.h"
#include "graph/onnx/proto.h"

namespace ds::onnx_io {

// Messages say what is wrong with the tensor, not which it is: the caller knows its name.
absl::StatusOr<Tensor> TensorFromProto(const onnx::TensorProto& proto, ExternalData& external);

// As raw_data, without a name.
void TensorToProto(const Tensor& tensor, onnx::TensorProto* proto);

}  // namespace ds::onnx_io
