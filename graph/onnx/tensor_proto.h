// TensorProto <-> Tensor. Data sits in raw_data, in a typed field, or in another file; all three
// are checked against the shape before a byte is allocated.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor/tensor.h"
#include "graph/onnx/external_data.h"
#include "graph/onnx/proto.h"

namespace ds::onnx_io {

// Messages say what is wrong with the tensor, not which it is: the caller knows its name.
absl::StatusOr<Tensor> TensorFromProto(const onnx::TensorProto& proto, ExternalData& external);

// The same for a tensor whose raw_data is not in the message (stored_weights.h) but is `raw`.
// `read` false: a tensor of more than kUnread bytes has type and shape only (UntouchedTensor).
inline constexpr int64_t kUnread = 65536;
absl::StatusOr<Tensor> TensorFromProto(const onnx::TensorProto& proto, absl::string_view raw,
                                       bool read);

// As raw_data, without a name.
void TensorToProto(const Tensor& tensor, onnx::TensorProto* proto);

}  // namespace ds::onnx_io
