// The ONNX protobuf classes and the small things every source that touches them needs. Never
// included by a public header: protobuf stays inside this folder (see CMakeLists.txt for why that
// matters).
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor/dtype.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#include "onnx-ml.pb.h"
#pragma GCC diagnostic pop

namespace ds::onnx_io {

// Newest ai.onnx opset and IR whose operators this importer was checked against.
inline constexpr int kOldestOpset = 7;
inline constexpr int kNewestOpset = 28;
inline constexpr int kNewestIrVersion = 14;

// TensorProto.DataType of strings, which is refused by name.
inline constexpr int kString = 8;

// Unimplemented for the types the graph has no counterpart of (string, complex, float8, float4).
absl::StatusOr<DType> DTypeFromOnnx(int data_type);

// A name taken from a file, made fit for a one-line message: quoted, escaped, cut where it is long.
std::string Quoted(absl::string_view name);
// A message that may hold such names unquoted: control characters are escaped, the tail of a very
// long one cut.
std::string Printable(absl::string_view message);

}  // namespace ds::onnx_io
